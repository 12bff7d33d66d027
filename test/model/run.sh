#!/bin/sh
# Checks romulus.pml: all rules on must hold, and each rule switched off must give a counter-example.
#   run.sh [small|full] [all|RULE...]       needs spin and a C compiler: apt-get install -y spin gcc
set -eu
size=${1:-small}
[ $# -gt 0 ] && shift
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

case $size in
  small) bounds='-DEPOCHS=1 -DCRASHES=1 -DWRITES=3' ;;
  full) bounds='-DEPOCHS=2 -DCRASHES=1 -DWRITES=4' ;;
  *) echo "usage: run.sh [small|full] [all|RULE...]" >&2; exit 2 ;;
esac

# Switches, and the rules of docs/safety.md they break. Bounds a counter-example needs beyond the small ones follow.
rules='
NO_RUNID:2:-DEPOCHS=2
NO_PROOF:2
NO_RUN_BOUND:2:-DCRASHES=2
NO_SETTLE:12:-DWRITES=4
NO_GATE:5
NO_ATOMIC:6
NO_RESTART_WAIT:6
NO_BARRIER:7
NO_PROMISE:8
NO_CAS_SOLO:10
NO_CAS_PROMOTE:11
NO_DOUBT:12
NO_JOIN_HOLD:14
BOOT_UNASKED:17
NO_HANDOVER_CLOSE:18
NO_FENCED_BY:19
'

# check NAME SEARCH FLAGS... : prints one line and sets $errors. Breadth first finds the shortest counter-example.
check() {
  name=$1 search=$2
  # Most counter-examples are found sooner than the optimiser ends.
  optimise=-O0; [ "$size" = full ] || [ "$name" = all ] && optimise=-O2
  shift 2
  (
    cd "$work"
    spin "$@" -a "$here/romulus.pml" > spin.out 2>&1
    cc $optimise -DSAFETY -DCOLLAPSE -DMEMLIM=8000 $search -w -o pan pan.c
    ./pan -m200000 > pan.out
  )
  errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' "$work/pan.out")
  states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$work/pan.out")
  steps=$(sed -n 's/.*violated.*(at depth \([0-9]*\)).*/\1/p' "$work/pan.out")
  if grep -q 'max search depth too small\|out of memory\|memory limit' "$work/pan.out"; then
    echo "$name: the search did not end" >&2
    exit 1
  fi
  printf '%-20s states=%-10s errors=%s%s\n' "$name" "$states" "$errors" "${steps:+ in $steps steps}"
}

failed=0
for asked in ${@:-all $(echo "$rules" | cut -d: -f1)}; do
  if [ "$asked" = all ]; then
    check all '' $bounds
    [ "$errors" = 0 ] || failed=1
    continue
  fi
  line=$(echo "$rules" | grep "^$asked:")
  check "$asked" -DBFS $bounds $(echo "$line" | cut -d: -f3- | tr : ' ') "-D$asked"
  [ "$errors" != 0 ] || failed=1
done
exit $failed
