#!/usr/bin/env bash
# Checks what the documents point to: every relative link and its heading, every `path/in/backticks` that starts
# with a folder of the sources, and every `function()` of ours. In paths `*`, `X` and `NAME` stand for any name
# (`services/X/sql/*.sql`), and a module may be named without its ending (`libcommon/io/ecdsa`). Fenced blocks are
# not looked at.
#
#   tests/check_docs_links.sh [ROOT]
set -euo pipefail
cd "${1:-$(dirname "$0")/..}"
broken=0
links=0
paths=0
functions=0

complain() {
    printf '%s:%s: %s\n' "$1" "$2" "$3" >&2
    broken=$((broken + 1))
}

declare -A words=() # that stand before a bracket in the sources
while read -r word; do words[$word]=1; done < <(find libcommon gateway services proto tests -name '*.[ch]' -print0 |
    xargs -0 grep -hoE '\b[a-z0-9_]+\(' | tr -d '(' | LC_ALL=C sort -u)
declare -A anchors=() # FILE#anchor, of the files that were looked at

# tokens FILE: "LINE link TARGET", "LINE path PATH" and "LINE function NAME" for each one in the text.
tokens() {
    awk '
        /^ *```/ { fenced = !fenced; next }
        fenced { next }
        {
            plain = ""
            rest = $0
            while (match(rest, /`[^`]*`/)) {
                code = substr(rest, RSTART + 1, RLENGTH - 2)
                if (code ~ /^(libcommon|gateway|services|proto|tests|deploy|docs)\/[A-Za-z0-9_.*\/-]*$/)
                    print NR, "path", code
                else if (code ~ /^[a-z0-9_]+\(\)$/)
                    print NR, "function", substr(code, 1, length(code) - 2)
                plain = plain substr(rest, 1, RSTART - 1) " "
                rest = substr(rest, RSTART + RLENGTH)
            }
            plain = plain rest
            while (match(plain, /\]\([^() ]*\)/)) {
                print NR, "link", substr(plain, RSTART + 2, RLENGTH - 3)
                plain = substr(plain, RSTART + RLENGTH)
            }
        }
        END { if (fenced) print NR, "fence", "open" }' "$1"
}

# anchors_read FILE: the anchors its headings get.
anchors_read() {
    local anchor
    [ -z "${anchors[$1#]:-}" ] || return 0
    anchors[$1#]=1
    while read -r anchor; do anchors[$1#$anchor]=1; done < <(awk '
        /^ *```/ { fenced = !fenced; next }
        !fenced && /^#+ / {
            sub(/^#+ +/, "")
            line = tolower($0)
            gsub(/[^a-z0-9 _-]/, "", line)
            gsub(/ /, "-", line)
            print line
        }' "$1")
}

link_check() {
    local file=$1 line=$2 target=$3 path anchor=
    case $target in
    http://* | https://* | mailto:*) return ;;
    esac
    links=$((links + 1))
    path=${target%%#*}
    [ "$path" = "$target" ] || anchor=${target#*#}
    if [ -z "$path" ]; then
        path=$file
    elif [[ $path == /* ]]; then
        complain "$file" "$line" "$target is no relative link"
        return
    else
        [[ $file != */* ]] || path=${file%/*}/$path
    fi
    if [ ! -e "$path" ]; then
        complain "$file" "$line" "the link $target leads nowhere"
    elif [ -n "$anchor" ]; then
        anchors_read "$path"
        [ -n "${anchors[$path#$anchor]:-}" ] || complain "$file" "$line" "$target: there is no such heading"
    fi
}

path_check() {
    local file=$1 line=$2 path=$3 glob
    paths=$((paths + 1))
    [ ! -e "$path" ] || return 0
    glob=$(sed -E 's,(^|[/_])(X|NAME)($|[/_.]),\1*\3,g' <<<"$path")
    compgen -G "$glob" >/dev/null || compgen -G "$glob.[ch]" >/dev/null ||
        complain "$file" "$line" "\`$path\` does not exist"
}

function_check() {
    functions=$((functions + 1))
    [ -n "${words[$3]:-}" ] || complain "$1" "$2" "\`$3()\` is in no source"
}

while IFS= read -r file; do
    file=${file#./}
    while read -r line kind what; do
        case $kind in
        link) link_check "$file" "$line" "$what" ;;
        path) path_check "$file" "$line" "$what" ;;
        function) function_check "$file" "$line" "$what" ;;
        fence) complain "$file" "$line" "a fenced block is not closed" ;;
        esac
    done < <(tokens "$file")
done < <(find . \( -name '.?*' -o -path ./build \) -prune -o -name '*.md' -print | sort)

((links > 0 && paths > 0 && functions > 0)) || complain . 0 "found no links, no paths or no functions to check"
printf '  %d links, %d paths and %d functions in the documents, %d broken\n' "$links" "$paths" "$functions" "$broken"
[ "$broken" = 0 ]
