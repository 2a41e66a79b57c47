//! Pages of a small scenario, read again by a parser.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use roxmltree::{Document, Node, ParsingOptions};

use super::{Chapter, Example, catalogue, scenario};
use crate::explore::{Exploration, Grid, explore};
use crate::oracle::Verdict;
use crate::plan::Class;
use crate::{Env, Scenario, Times};

/// What a careless page would take for markup.
const NASTY: &str = "a<b & \"c\" </script>";

/// A worker that sends a receipt after its commit, in words that are not easy to quote.
fn receipts() -> Scenario {
    Scenario::new("receipts")
        .source(NASTY)
        .about("**Holds** nothing: `x < y` & <b>z</b>.")
        .twin_of("outbox")
        .schema("create table t (id int primary key)")
        .jobs([1])
        .worker("worker", async |env: Env| {
            let client = env.connect().await?;
            client.batch_execute("insert into t values (1)").await?;
            env.effect("re<ce&ipt", env.job()).await?;
            Ok(())
        })
        .owes("re<ce&ipt", "select id from t", Times::Once)
        .expect(
            Some(Class::Kill),
            [Verdict::Ok, Verdict::Lost],
            "the window <&\"",
        )
        .faults([Class::Kill, Class::Server, Class::Broker])
}

fn explored() -> Exploration {
    explore(receipts()).cases(4).run().unwrap()
}

fn chapter(exploration: &Exploration) -> Chapter<'_> {
    let all = exploration.counterexamples.iter();
    Chapter {
        exploration,
        examples: all
            .map(|it| Example::of(exploration, it).unwrap())
            .collect(),
        twins: vec!["worse"],
    }
}

fn grid(threads: usize) -> Grid {
    explore(receipts()).threads(threads).grid(300).unwrap()
}

/// The pages that there are: of one scenario, and of all.
fn pages() -> [String; 2] {
    let exploration = explored();
    let failed = [("broken", NASTY.to_owned())];
    [
        scenario(&chapter(&exploration), &grid(1)),
        catalogue(&[chapter(&exploration)], &failed),
    ]
}

fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(page, options).unwrap_or_else(|error| panic!("{error}\n{page}"))
}

fn elements<'d>(document: &'d Document<'d>) -> impl Iterator<Item = Node<'d, 'd>> {
    document.descendants().filter(Node::is_element)
}

/// All text below a node, with single spaces.
fn text(node: Node<'_, '_>) -> String {
    let is_style = |it: &Node<'_, '_>| it.parent().is_some_and(|it| it.has_tag_name("style"));
    let texts = node
        .descendants()
        .filter(|it| it.is_text() && !is_style(it));
    let joined: Vec<&str> = texts.filter_map(|it| it.text()).collect();
    let words: Vec<&str> = joined.iter().flat_map(|it| it.split_whitespace()).collect();
    words.join(" ")
}

#[test]
fn pages_are_well_formed_and_their_links_lead_somewhere() {
    for page in pages() {
        let document = parsed(&page);
        let mut ids = BTreeSet::new();
        for id in elements(&document).filter_map(|it| it.attribute("id")) {
            assert!(ids.insert(id), "{id} is there twice");
        }
        for node in elements(&document) {
            for name in ["href", "aria-labelledby"] {
                let named = node.attribute(name).unwrap_or_default();
                for target in named
                    .split(' ')
                    .filter(|it| !it.is_empty() && *it != "data:,")
                {
                    assert!(
                        ids.contains(target.trim_start_matches('#')),
                        "{name}={named}"
                    );
                }
            }
            match node.tag_name().name() {
                "th" => assert!(node.has_attribute("scope")),
                "svg" => {
                    let names: Vec<&str> = node
                        .children()
                        .take(2)
                        .map(|it| it.tag_name().name())
                        .collect();
                    assert_eq!(names, ["title", "desc"]);
                }
                _ => {}
            }
        }
        assert!(page.starts_with("<!DOCTYPE html>"));
    }
}

#[test]
fn pages_ask_nothing_of_any_network() {
    for page in pages() {
        for fetch in [
            "http:", "https:", "//", "url(", "@import", "<script", "<iframe", "<object",
        ] {
            let found = page
                .find(fetch)
                .map(|at| &page[at..page.len().min(at + 60)]);
            assert_eq!(found, None);
        }
        let document = parsed(&page);
        for node in elements(&document) {
            assert!(!node.has_attribute("src") && !node.has_attribute("style"));
            let href = node.attribute("href").unwrap_or("#");
            assert!(href.starts_with('#') || href == "data:,", "{href}");
        }
        assert!(page.contains("default-src 'none'"));
    }
}

#[test]
fn what_an_author_wrote_is_shown_as_it_was_written() {
    let [one, all] = pages();
    for page in [&one, &all] {
        let told = text(parsed(page).root());
        for written in [
            NASTY,
            "Holds nothing: x < y & <b>z</b>.",
            "the window <&\"",
            "re<ce&ipt:1",
        ] {
            assert!(told.contains(written), "{written} in {told}");
        }
    }
    assert!(text(parsed(&all).root()).contains("broken : a<b"));
}

#[test]
fn a_page_is_the_same_whoever_makes_it() {
    let page = |threads| {
        let exploration = explore(receipts()).cases(4).threads(threads).run().unwrap();
        scenario(&chapter(&exploration), &grid(threads))
    };
    assert_eq!(page(1), page(2));
}

/// Headings, rows of tables, and the words of diagrams, each on a line.
fn outline(page: &str) -> String {
    let mut outline = String::new();
    for node in elements(&parsed(page)) {
        let name = node.tag_name().name();
        match name {
            "h1" | "h2" | "h3" | "summary" | "li" => {
                let _ = writeln!(outline, "{name} {}", text(node));
            }
            "tr" => {
                let cells: Vec<String> =
                    node.children().filter(Node::is_element).map(text).collect();
                let _ = writeln!(outline, "   | {}", cells.join(" | ").trim_end());
            }
            "text" => {
                let _ = writeln!(outline, "   {}", text(node));
            }
            "pre" => {
                let _ = writeln!(
                    outline,
                    "   $ {}",
                    text(node).chars().take(70).collect::<String>()
                );
            }
            _ => {}
        }
    }
    outline
}

#[test]
fn a_page_tells_verdicts_counterexamples_and_what_is_covered() {
    let exploration = explore(receipts())
        .faults([Class::Kill])
        .cases(0)
        .run()
        .unwrap();
    insta::assert_snapshot!(outline(&scenario(&chapter(&exploration), &Grid::default())), @r#"
    h1 receipts
    h2 Verdicts by class of fault
    li ✓ ok every promise held
    li L LOST owed, never applied
       | fault | schedules | verdicts | least plan | declared, because
       | none | 17 | ok 17 |  |
       | kill | 14 | LOST 6 | kill@worker.after-startup.1+1.resuming | the window <&"
       | ok 8 |
    h2 Least counterexamples
    h3 LOST by kill
       worker
       pg
       0
       worker starts
       takes job 1
       10
       startup.1
       30
       startup.1
       insert.1
       40
       COMMIT 1
       received
       deferred
       interrupts-held
       inserted
       flushed
       clog
       replicated
       visible
       owes re<ce&ipt:1
       LOST
       unlocked
       notified
       completed
       ready
       50
       INSERT 0 1
       kill
       @worker.after-startup.1+1.resuming
       is killed
       60
       job 1 unknown: killed
       worker:2 starts
       70
       all is quiet
       $ midcommit replay receipts kill@worker.after-startup.1+1.resuming
    summary the same as text
       $ ms processes pg broker 0 worker starts; takes job 1 10 worker → startu
    h2 What this covers
    li 14 of 32 points of the fault-free run, by 14 of 14 schedules with one fault
    li await points, each in both phases: worker 5, worker/conn1 2
    li 12 steps of COMMIT
    li 1 schedule run twice, with equal histories
    li control: an effect dropped and an effect doubled were caught
    "#);
}

#[test]
fn a_catalogue_links_its_cells_to_what_shows_them() {
    let exploration = explore(receipts())
        .faults([Class::Kill])
        .cases(0)
        .run()
        .unwrap();
    let chapter = Chapter {
        examples: Vec::new(),
        ..chapter(&exploration)
    };
    insta::assert_snapshot!(outline(&catalogue(&[chapter], &[])), @r#"
    h1 What happens after COMMIT
    h2 Verdicts by class of fault
    li ✓ ok every promise held
    li L LOST owed, never applied
       | scenario | none | interrupt | kill | deploy | network | server | failover | broker
       | receipts | ok 17 | – | LOST 6 of 14 | – | – | – | – | –
    h2 receipts
       | fault | schedules | verdicts | least plan | declared, because
       | none | 17 | ok 17 |  |
       | kill | 14 | LOST 6 | kill@worker.after-startup.1+1.resuming | the window <&"
       | ok 8 |
    h3 What this covers
    li 14 of 32 points of the fault-free run, by 14 of 14 schedules with one fault
    li await points, each in both phases: worker 5, worker/conn1 2
    li 12 steps of COMMIT
    li 1 schedule run twice, with equal histories
    li control: an effect dropped and an effect doubled were caught
    "#);
}

/// A heat map's rows: their names, and their cells as letters.
fn heat(page: &str) -> String {
    let document = parsed(page);
    let tables = elements(&document).filter(|it| it.attribute("class") == Some("heat"));
    let mut rows = String::new();
    for row in tables
        .flat_map(|it| it.descendants())
        .filter(|it| it.has_tag_name("tr"))
    {
        let mut cells = row.children().filter(Node::is_element);
        let name = cells.next().map(text).unwrap_or_default();
        let letters: Vec<String> = cells.map(text).collect();
        let line = format!("{name:22} {}", letters.join(" "));
        let _ = writeln!(rows, "{}", line.trim_end());
    }
    rows
}

#[test]
fn a_heat_map_has_a_row_for_each_wait_and_a_column_for_each_step() {
    let exploration = explored();
    let all = explore(receipts()).grid(usize::MAX).unwrap();
    insta::assert_snapshot!(heat(&scenario(&chapter(&exploration), &all)), @r"
    struck at              no second fault pg.commit.1 by worker
    received               deferred interrupts-held inserted flushed clog replicated visible unlocked notified completed ready
    no second fault         ✓ ✓ ✓ ✓ L L L L L L L ✓
    worker
    start+1                ✓ · · · · · · · · · · · ·
    startup.1+1            ✓ · · · · · · · · · · · ·
    after-startup.1+1      L ✓ ✓ L L L L L L L L L L
    after-insert.1+1       L · · L L L L L L L L L L
    publish.1+1            ✓ · · ✓ ✓ ✓ ✓ ✓ ✓ ✓ ✓ ✓ ✓
    ");
}

#[test]
fn each_cell_that_breaks_a_promise_leads_to_a_plan() {
    let [one, _] = pages();
    let document = parsed(&one);
    let links = elements(&document)
        .filter(|it| it.has_tag_name("a") && it.parent().is_some_and(|it| it.has_tag_name("td")));
    let mut followed = 0;
    for link in links.filter(|it| it.attribute("href").is_some_and(|it| it.contains("grid"))) {
        let target = link.attribute("href").unwrap().trim_start_matches('#');
        let row = elements(&document)
            .find(|it| it.attribute("id") == Some(target))
            .unwrap();
        let plan = row
            .descendants()
            .find(|it| it.attribute("class") == Some("plan"))
            .unwrap();
        assert!(text(plan).parse::<crate::plan::Plan>().is_ok());
        followed += 1;
    }
    assert!(followed > 5, "{followed}");
}
