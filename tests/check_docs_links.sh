#!/usr/bin/env bash
# Checks what the documents point to: every relative link and its heading, and every `path/in/backticks` that
# starts with a folder of the sources. `*`, `X` and `NAME` stand for any name (`services/X/sql/*.sql`), and a module
# may be named without its ending (`libcommon/io/ecdsa`). Fenced blocks are not looked at.
#
#   tests/check_docs_links.sh [ROOT]
set -euo pipefail
cd "${1:-$(dirname "$0")/..}"
broken=0
links=0
paths=0

complain() {
    printf '%s:%s: %s\n' "$1" "$2" "$3" >&2
    broken=$((broken + 1))
}

# tokens FILE: "LINE link TARGET" and "LINE path PATH" for each one in the text.
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

# headings FILE: the anchors its headings get.
headings() {
    awk '
        /^ *```/ { fenced = !fenced; next }
        !fenced && /^#+ / {
            sub(/^#+ +/, "")
            line = tolower($0)
            gsub(/[^a-z0-9 _-]/, "", line)
            gsub(/ /, "-", line)
            print line
        }' "$1"
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
        path=$(dirname "$file")/$path
    fi
    if [ ! -e "$path" ]; then
        complain "$file" "$line" "the link $target leads nowhere"
    elif [ -n "$anchor" ] && ! headings "$path" | grep -qxF -- "$anchor"; then
        complain "$file" "$line" "$target: there is no such heading"
    fi
}

path_check() {
    local file=$1 line=$2 path=$3 glob
    paths=$((paths + 1))
    glob=$(sed -E 's,(^|[/_])(X|NAME)($|[/_.]),\1*\3,g' <<<"$path")
    [ -e "$path" ] || compgen -G "$glob" >/dev/null || compgen -G "$glob.[ch]" >/dev/null ||
        complain "$file" "$line" "\`$path\` does not exist"
}

while IFS= read -r file; do
    file=${file#./}
    while read -r line kind what; do
        case $kind in
        link) link_check "$file" "$line" "$what" ;;
        path) path_check "$file" "$line" "$what" ;;
        fence) complain "$file" "$line" "a fenced block is not closed" ;;
        esac
    done < <(tokens "$file")
done < <(find . \( -name '.?*' -o -path ./build \) -prune -o -name '*.md' -print | sort)

[ "$links" -gt 0 ] && [ "$paths" -gt 0 ] || complain . 0 "no link or no path was found to check"
printf '  %d links and %d paths in the documents, %d broken\n' "$links" "$paths" "$broken"
[ "$broken" = 0 ]
