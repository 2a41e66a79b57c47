//! The shapes, as programs get them.

use super::*;
use crate::report::sample::{lost_history, receipts};

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

#[test]
fn the_catalogue_has_a_row_per_scenario() {
    insta::assert_snapshot!(json(&Catalogue::of(&[receipts()])), @r#"
    {
      "rows": [
        {
          "scenario": "receipts",
          "source": "a sample",
          "cells": {
            "interrupt": {
              "schedules": 56,
              "verdicts": {
                "lost": 3,
                "ok": 53
              }
            },
            "kill": {
              "schedules": 28,
              "verdicts": {
                "ok": 28
              }
            },
            "none": {
              "schedules": 16,
              "verdicts": {
                "ok": 16
              }
            }
          },
          "drawn": {
            "schedules": 10,
            "verdicts": {
              "lost": 1,
              "ok": 9
            }
          },
          "several": [],
          "as_expected": false
        }
      ]
    }
    "#);
}

#[test]
fn a_check_has_counts_and_a_counterexample() {
    insta::assert_snapshot!(json(&Check::of(&receipts())), @r#"
    {
      "scenario": "receipts",
      "schedules": {
        "planned": 84,
        "run": 84,
        "unfired": 0
      },
      "await_points": {
        "worker": 6,
        "worker/conn1": 8
      },
      "ungated_tasks": 2,
      "control_caught": true,
      "verdicts": {
        "lost": 4,
        "ok": 106
      },
      "counterexample": {
        "plan": "cancel@worker.commit.1+1",
        "verdict": "lost",
        "history": "547fce9d3f3d8f3c"
      },
      "seconds": 1.5
    }
    "#);
}

#[test]
fn a_replay_has_every_event() {
    let history = lost_history();
    let plan = "cancel@worker.commit.1+1".parse().unwrap();
    let replayed = Replayed::of(&plan, &history, &crate::oracle::judge(&history));
    insta::assert_snapshot!(json(&replayed), @r#"
    {
      "verdict": "lost",
      "plan": "cancel@worker.commit.1+1",
      "history": "547fce9d3f3d8f3c",
      "findings": [
        {
          "verdict": "lost",
          "subject": "receipt:1",
          "sentence": "receipt:1 is owed since pg commit 1 and was never applied",
          "event": 8
        }
      ],
      "events": [
        {
          "at_ms": 0.0,
          "kind": "started",
          "text": "starts",
          "process": "worker"
        },
        {
          "at_ms": 0.0,
          "kind": "invoke",
          "text": "takes job 1",
          "process": "worker",
          "job": "1"
        },
        {
          "at_ms": 10.0,
          "kind": "sent",
          "text": "→ begin.1",
          "process": "worker"
        },
        {
          "at_ms": 20.0,
          "kind": "answered",
          "text": "← begin.1 BEGIN",
          "process": "worker"
        },
        {
          "at_ms": 20.0,
          "kind": "sent",
          "text": "→ commit.1",
          "process": "worker"
        },
        {
          "at_ms": 20.0,
          "kind": "fired",
          "text": "cancel@worker.commit.1+1"
        },
        {
          "at_ms": 20.0,
          "kind": "info",
          "text": "job 1 unknown: cancelled",
          "process": "worker",
          "job": "1"
        },
        {
          "at_ms": 30.0,
          "kind": "committed",
          "text": "commit 1 of job 1 visible",
          "process": "worker",
          "server": "pg",
          "commit": 1,
          "job": "1"
        },
        {
          "at_ms": 30.0,
          "kind": "owed",
          "text": "owes receipt:1",
          "server": "pg",
          "commit": 1,
          "effect": "receipt:1"
        },
        {
          "at_ms": 30.0,
          "kind": "acknowledged",
          "text": "commit 1 acknowledged",
          "server": "pg",
          "commit": 1
        },
        {
          "at_ms": 40.0,
          "kind": "healed",
          "text": "(what was broken is healed)"
        },
        {
          "at_ms": 1050.0,
          "kind": "settled",
          "text": "(all is quiet)"
        }
      ]
    }
    "#);
}

#[test]
fn the_list_has_names_sources_and_counts() {
    let list = List {
        scenarios: vec![Listed::of(&receipts().scenario, 412)],
    };
    insta::assert_snapshot!(json(&list), @r#"
    {
      "scenarios": [
        {
          "name": "receipts",
          "source": "a sample",
          "schedules": 412
        }
      ]
    }
    "#);
}
