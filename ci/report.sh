#!/usr/bin/env bash
# Renders pages of `midcommit report` in a browser: nothing is asked of any network, nothing overflows, and
# there are pictures of them, light and dark, wide and narrow, for someone to look at.
# Needs Rust, bash, grep; installs Debian's chromium where it is absent.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
out=$target/report
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
widths=(1280 390)
# A picture ends there, however long its page is.
height_max=15000

main() {
    command -v chromium >/dev/null || install
    cargo build --locked --release -p midcommit-scenarios
    mkdir -p "$out"
    control
    page effect_after_commit effect_after_commit
    page outbox_inbox outbox_inbox
    page catalogue
    printf 'all pages as they should be; pictures are in %s\n' "$out"
}

install() {
    local sudo=()
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core
}

failed() {
    printf 'failed: %s\n' "$*" >&2
    exit 1
}

# chromium, with a profile of its own, nothing of its own to ask the network for, and no way to.
browse() {
    rm -rf "$work/profile"
    timeout 120 chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic \
        --no-first-run --disable-background-networking --disable-component-update --disable-sync \
        --hide-scrollbars --proxy-server=127.0.0.1:9 --user-data-dir="$work/profile" "$@" 2>"$work/stderr"
}

# page NAME [SCENARIO]: writes a page twice, and looks at it.
page() {
    local name=$1 file=$out/$1.html width measured height
    shift
    "$target/release/midcommit" report "$@" --html "$file"
    "$target/release/midcommit" report "$@" --html "$work/again.html" --threads 1 >/dev/null
    cmp "$file" "$work/again.html" || failed "$name: two runs wrote different pages"
    asks_nothing "$file" || failed "$name: the page asks for something: $(asked)"
    for width in "${widths[@]}"; do
        measured=$(measure "$file" "$width")
        case $measured in
            "client=$width scroll=$width height="*) ;;
            *) failed "$name at $width px overflows, or was not measured: $measured" ;;
        esac
        height=${measured##*height=}
        picture "$file" "$width" "$height" light 1
        picture "$file" "$width" "$height" dark 0
        printf '%s at %s px: %s px high\n' "$name" "$width" "$height"
    done
}

# Whether a page asks nothing of the network. Only requests that a page makes have a page for their initiator: the browser's
# own are its own business.
asks_nothing() {
    browse --log-net-log="$work/net.json" --virtual-time-budget=3000 --dump-dom "file://$1" >"$work/dom" ||
        failed "chromium did not show $1: $(tail -n 3 "$work/stderr")"
    grep -q '</html>' "$work/dom" || failed "chromium shows nothing of $1"
    [ -z "$(asked)" ]
}

asked() {
    { grep -E '"url":"(https?|wss?|ftp):' "$work/net.json" | grep -E '"initiator":"(file:|null)' |
        grep -oE '"url":"[^"]*"' | sort -u; grep -oE 'Refused to [a-z]+ .*' "$work/stderr"; } || true
}

# What is caught must be seen to be caught: a page that asks, and one that overflows.
control() {
    printf '<!DOCTYPE html><html><body><img src="http://192.0.2.1/x.png"/><p style="width:3000px">wide</p></body></html>\n' \
        >"$work/control.html"
    ! asks_nothing "$work/control.html" || failed "a page that asks for a picture went unnoticed"
    case $(measure "$work/control.html" 390) in
        "client=390 scroll=3"*) ;;
        *) failed "a page that overflows went unnoticed" ;;
    esac
}

# How wide a page is in a frame of some width.
measure() {
    cat >"$work/frame.html" <<END
<!DOCTYPE html><html><body><pre id="said">nothing</pre>
<iframe id="page" src="file://$1" width="$2" height="900" style="border:0"></iframe>
<script>
document.getElementById('page').addEventListener('load', function () {
  var root = this.contentDocument.documentElement;
  document.getElementById('said').textContent =
    ['client=' + root.clientWidth, 'scroll=' + root.scrollWidth, 'height=' + root.scrollHeight].join(' ');
});
</script></body></html>
END
    browse --allow-file-access-from-files --virtual-time-budget=5000 --dump-dom "file://$work/frame.html" |
        grep -oE '<pre id="said">[^<]*' | cut -d'>' -f2
}

# picture FILE WIDTH HEIGHT NAME SCHEME
picture() {
    local file=$1 width=$2 height=$3 name=$4 scheme=$5 png
    png=${file%.html}.$width.$name.png
    [ "$height" -le "$height_max" ] || height=$height_max
    browse --blink-settings=preferredColorScheme="$scheme" --window-size="$width,$height" --screenshot="$png" "file://$file" \
        >/dev/null || failed "no picture of $file: $(tail -n 3 "$work/stderr")"
    [ -s "$png" ] || failed "no picture of $file"
}

main
