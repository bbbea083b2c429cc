# Line coverage from the words of `gcov -n`: a table by folder, then the files below LOW per cent. Headers are
# left out: each file that includes one would count it anew.
/^File '/ {
    file = $0
    sub(/^File '/, "", file)
    sub(/'$/, "", file)
    next
}
/^Lines executed:/ && file ~ /^(libcommon|gateway|services)\/.*\.c$/ && !(file in lines) {
    split($0, part, /[:%]/)
    lines[file] = $NF
    run[file] = int(part[2] * $NF / 100 + 0.5)
    folder = file
    sub(/\/[^\/]*$/, "", folder)
    folder_lines[folder] += lines[file]
    folder_run[folder] += run[file]
    all_lines += lines[file]
    all_run += run[file]
}
function row(name, n, of) {
    return sprintf("%-36s %6d of %6d lines  %5.1f %%", name, n, of, 100 * n / of)
}
END {
    if (all_lines == 0) {
        print "no coverage was found"
        exit 1
    }
    for (folder in folder_lines) {
        print row(folder, folder_run[folder], folder_lines[folder]) | "sort"
    }
    close("sort")
    print row("all", all_run, all_lines)
    for (file in lines) {
        if (100 * run[file] < LOW * lines[file]) {
            low = low row(file, run[file], lines[file]) "\n"
        }
    }
    printf "\nbelow %d %%:%s", LOW, low == "" ? " none\n" : "\n"
    printf "%s", low | "sort"
}
