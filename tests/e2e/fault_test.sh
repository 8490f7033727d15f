#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Kill one program of a running consortium (SIGKILL) at different moments and start it again: the
# result must be, bit for bit, that of an undisturbed run, without anybody's help.
# Usage: fault_test.sh BIN   (folder of the programs)
set -eu
bin=$(cd "${1:?folder of the programs}" && pwd)
for program in nof1 nof1-coordinator nof1-vault nof1-lab-site nof1-edge; do
    [ -x "$bin/$program" ] || { echo "no $program in $bin"; exit 77; }
done
work=$(mktemp -d /tmp/nof1-fault-XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
passed=0 failed=0

"$bin/nof1" lab new --sites 5 --trials 40 --seed 11 --design ABAB --out "$work/lab" > /dev/null 2>&1
run() { # folder of the programs, output
    timeout 120 "$1/nof1" lab run --json --policy standard --sites "$work/lab/sites" \
        --map "$work/lab/map.yaml" --plan "$work/lab/plan.yaml" > "$2" 2> "$2.err"
}
# What must not depend on the way there. The bytes on the wire may (signatures vary in length).
numbers() {
    python3 -c 'import json, sys
value = json.load(open(sys.argv[1]))
keys = ("estimates", "variance_components", "heterogeneity", "fit", "privacy")
value.get("privacy", {}).pop("sites_each", None)
print(json.dumps({k: value.get(k) for k in keys}, sort_keys=True))' "$1"
}
run "$bin" "$work/calm" || { cat "$work/calm.err"; echo "0 passed, 1 failed"; exit 1; }
numbers "$work/calm" > "$work/expected"

# Programs that die once: the lab finds them beside the copy of nof1.
mkdir "$work/bin"
cp "$bin/nof1" "$work/bin/nof1"
for program in nof1-coordinator nof1-vault nof1-lab-site nof1-edge; do
    cat > "$work/bin/$program" << SCRIPT
#!/bin/sh
real=$bin/$program
case "$program \$* " in
    \$NOF1_FAULT_WHO*) ;;
    *) exec "\$real" "\$@" ;;
esac
"\$real" "\$@" &
pid=\$!
trap 'kill \$pid; wait \$pid; exit' TERM INT
turn=0 # the lab sends stderr to a file: wait for the word in it
while [ \$turn -lt 600 ] && ! grep -qF "\$NOF1_FAULT_WHEN" /proc/\$\$/fd/2; do sleep 0.01; turn=\$((turn + 1)); done
sleep "\$NOF1_FAULT_AFTER"
kill -9 \$pid
wait \$pid 2> /dev/null
echo killed >> $work/killed
sleep "\$NOF1_FAULT_PAUSE"
trap - TERM INT
# a coordinator that chose its port comes back on the same one
chosen="" file=""
for word in "\$@"; do
    [ "\$chosen" = --port-file ] && file=\$word
    chosen=\$word
done
if [ -n "\$file" ] && [ -s "\$file" ]; then
    port=\$(cat "\$file")
    count=\$#
    while [ \$count -gt 0 ]; do
        word=\$1; shift
        [ "\$word" = 127.0.0.1:0 ] && word=127.0.0.1:\$port
        set -- "\$@" "\$word"
        count=\$((count - 1))
    done
fi
exec "\$real" "\$@"
SCRIPT
    chmod +x "$work/bin/$program"
done

first=$(basename "$(find "$work/lab/sites" -name '*.csv' | sort | head -1)" .csv)
attempt() { # name, who (beginning of the command), when (word in its log), seconds after
    rm -f "$work/killed"
    NOF1_FAULT_WHO=$2 NOF1_FAULT_WHEN=$3 NOF1_FAULT_AFTER=$4 NOF1_FAULT_PAUSE=0.1
    export NOF1_FAULT_WHO NOF1_FAULT_WHEN NOF1_FAULT_AFTER NOF1_FAULT_PAUSE
    code=0
    run "$work/bin" "$work/faulty" || code=$?
    if [ $code -eq 0 ] && numbers "$work/faulty" | cmp -s - "$work/expected"; then
        passed=$((passed + 1))
        if [ -f "$work/killed" ]; then echo "ok   $1"; else echo "ok   $1 (it had finished before)"; fi
    else
        failed=$((failed + 1))
        echo "FAIL $1: exit $code"
        tail -3 "$work/faulty.err"
        head -c 600 "$work/faulty"
    fi
}
for after in 0 0.02 0.05 0.1; do
    attempt "coordinator killed $after s after the first call" "nof1-coordinator serve" \
        Statistician/Charter $after
    attempt "coordinator killed $after s after the plan came" "nof1-coordinator serve" \
        Statistician/Submit $after
done
for after in 0 0.1 0.2 0.4; do
    attempt "vault of $first killed $after s after its link was up" \
        "nof1-[vl]* --dir*--site $first " edge.up $after
    attempt "edge of $first killed $after s after its link was up" \
        "nof1-edge --socket*site-$first.pem" link.up $after
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
