#!/bin/sh
# Runs the model checker over mailbox.pml: every configuration must be right and
# its search complete, and every broken variant must be caught. See README.md.
set -u
cd "$(dirname "$0")" || exit 1
cc=${CC:-gcc}

# Spin itself calls gcc as its preprocessor.
for tool in spin gcc "$cc"; do
	if ! command -v "$tool" >/dev/null 2>&1; then
		echo "$tool is missing: the model of the mailbox was not checked." >&2
		echo "Install Spin (https://spinroot.com) and gcc; on Debian and Ubuntu: apt-get install spin gcc" >&2
		[ "${CI:-}" = true ] && exit 1
		exit 0
	fi
done

dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT PIPE TERM
cp mailbox.pml "$dir" && cd "$dir" || exit 1

runs=0 failures=0 total=0
began=$(date +%s)

# search DEFINES...: sets verdict, states and seconds.
search() {
	rm -f pan pan.* ./*.trail out
	if ! spin -a "$@" mailbox.pml >out 2>&1 ||
		! "$cc" -O1 -w -DSAFETY -DCOLLAPSE -DMEMLIM=2000 -o pan pan.c >>out 2>&1; then
		verdict=unusable states=0 seconds=0
		return
	fi
	./pan -m10000 -w20 >out 2>&1
	status=$?
	states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' out)
	seconds=$(sed -n 's/^pan: elapsed time \([0-9.e+-]*\) seconds.*/\1/p' out)
	states=${states:-0} seconds=${seconds:-0}
	if grep -Eq 'assertion violated|invalid end state \(' out; then
		verdict=violated
	elif grep -Eiq 'max search depth|not completed|out of memory|aborted|truncated' out ||
		[ "$status" -ne 0 ] || ! grep -q 'errors: 0$' out; then
		verdict=incomplete
	else
		verdict=right
	fi
}

# run EXPECTED NAME DEFINES...
run() {
	expected=$1 name=$2
	shift 2
	search "$@"
	runs=$((runs + 1))
	total=$((total + states))
	note=ok
	if [ "$verdict" != "$expected" ]; then
		note="FAILED: expected $expected"
		failures=$((failures + 1))
	elif [ "$verdict" = violated ]; then
		note="ok: $(sed -n 's/^pan:1: \(.*\) (at depth.*/\1/p' out)"
	fi
	printf '%-30s %-10s %8s states %6s s  %s\n' "$name" "$verdict" "$states" "$seconds" "$note"
	if [ "$verdict" != "$expected" ]; then
		echo "  spin -a $*"
		sed 's/^/  /' out
	fi
}

run right "posts race, and Start"        -DN1=2 -DN2=2 -DN3=3
run right "nodes are used again"         -DN1=3 -DN2=3 -DN3=2
run right "a node with two posters"      -DSHARED -DN1=3 -DN3=3
run right "budget of 1, self-sends"      -DBUDGET=1 -DSELF -DN1=2 -DN2=2 -DN3=2
run right "budget of 2"                  -DBUDGET=2 -DN1=2 -DN2=2 -DN3=3
run right "suspend, resume, and Start"   -DNSYS=2 -DN2=0 -DN3=2
run right "suspend, resume"              -DSTARTED -DNSYS=2
run right "suspend, resume, budget of 1" -DSTARTED -DNSYS=2 -DBUDGET=1 -DN1=2 -DN2=0 -DN3=2
run right "suspend"                      -DSTARTED -DNSYS=1 -DN1=2
run right "a handler fails, resume"      -DSTARTED -DNSYS=1 -DSYS1=RESUME -DFAIL -DN2=2
run right "stop, and Start"              -DNSYS=1 -DSYS1=STOP
run right "stop, self-sends"             -DSTARTED -DNSYS=1 -DSYS1=STOP -DSELF -DN1=2
run right "suspend, resume, stop"        -DSTARTED -DNSYS=3 -DN1=2 -DN2=0 -DN3=2
run right "direct turns"                 -DDIRECT -DSTARTED -DNSYS=1 -DN1=2 -DN2=2
run right "direct turns, suspend, resume" -DDIRECT -DSTARTED -DNSYS=2 -DN3=1
run right "direct turns, stop"           -DDIRECT -DSTARTED -DNSYS=1 -DSYS1=STOP -DN1=2
run right "direct turns, a handler fails" -DDIRECT -DSTARTED -DNSYS=1 -DSYS1=RESUME -DFAIL -DN2=2
run right "direct turns, budget of 1"    -DDIRECT -DSTARTED -DBUDGET=1 -DNSYS=1 -DN1=2 -DN2=0 -DN3=2
run right "run aside, and Start"         -DASIDE -DN1=2 -DN2=2 -DN3=2
run right "run aside, suspend, resume"   -DASIDE -DSTARTED -DNSYS=2 -DN2=0
run right "run aside, stop, budget of 1" -DASIDE -DSTARTED -DNSYS=1 -DSYS1=STOP -DBUDGET=1 -DSELF -DN2=0

# What would go wrong without it:
run violated "no compare at release"         -DBROKEN_RELEASE -DN1=2
run violated "list taken before the state"   -DBROKEN_TAKE -DN1=2
run violated "no mark"                       -DBROKEN_MARK -DN1=2
run violated "no nudge"                      -DBROKEN_NUDGE -DNSYS=1
run violated "next cleared after handling"   -DBROKEN_CLEAR -DN1=2
run violated "no look before the fast path"  -DBROKEN_LOOK -DNSYS=1
run violated "no look before a direct turn"  -DDIRECT -DSTARTED -DBROKEN_LOOK -DNSYS=1
run violated "no compare at exit"            -DDIRECT -DSTARTED -DBROKEN_RELEASE -DN1=2
run violated "no compare at release, aside"  -DASIDE -DBROKEN_RELEASE -DN1=2
run violated "no mark, aside"                -DASIDE -DBROKEN_MARK -DN1=2
run violated "no post after enter in vain"   -DDIRECT -DSTARTED -DBROKEN_AGAIN -DNSYS=1

summary="$runs runs, $total states, $(($(date +%s) - began)) s"
if [ "$failures" -ne 0 ]; then
	echo "mailbox model: $failures FAILED of $summary"
	exit 1
fi
echo "mailbox model: all as expected: $summary"
