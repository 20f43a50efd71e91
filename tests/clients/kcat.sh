#!/usr/bin/env bash
# kcat in the client matrix: kcat.sh BOOTSTRAP SCENARIO PREFIX runs one scenario. Every topic and group that it makes
# begins with PREFIX; topics are made by using them, with three partitions. Ends with 0 and the line `pass`, or
# `n/a: FUNCTION`; else says what it expected. kcat sets no timestamps, and the headers of all records of a run alike.
set -euo pipefail
bootstrap=$1 scenario=$2 prefix=$3
topic=$prefix
work=$(mktemp -d)
running=()
finish() {
  for pid in "${running[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap finish EXIT

fail() {
  echo "$*" >&2
  exit 1
}
lacks() {
  echo "n/a: $1"
  exit 0
}
# until_ WHAT COMMAND...: waits for a command that succeeds.
until_() {
  local what=$1 deadline=$((SECONDS + 60))
  shift
  until "$@"; do
    [ $SECONDS -lt $deadline ] || fail "$what: not within 60 s"
    sleep 0.05
  done
}
kcat() { command kcat -b "$bootstrap" "$@" </dev/null; }

# records FROM TO STEP: key, tab, value of every STEPth record, as kcat reads them.
records() {
  jq -nr --arg s "$scenario" --argjson from "$1" --argjson to "$2" --argjson step "$3" '
    range($from; $to; $step) | "k\(. % 7)\t\($s)-\(.)-" + ([97 + . % 26] | implode) * (. * 37 % 500) // ""'
}
# value N: that of one record.
value() { records "$1" $(($1 + 1)) 1 | cut -f2; }

# produce TOPIC FROM TO [OPTIONS...]: the records with those numbers, each to its partition.
produce() {
  local topic=$1 from=$2 to=$3 nth
  shift 3
  for nth in 0 1 2; do
    records $((from + nth)) "$to" 3 >"$work/records"
    kcat -P -t "$topic" -p $(((from + nth) % 3)) -K "$(printf '\t')" -H h=all -H empty= "$@" -l "$work/records"
  done
}
# read_ TOPIC PARTITION OFFSET: what is there from an offset on, a line each.
read_() { kcat -C -t "$1" -p "$2" -o "$3" -e -q -J; }
# shown: what of a record is compared, in the order of partitions and offsets.
shown() { jq -cs 'sort_by(.topic, .partition, .offset)[] | [.partition, .offset, .key, .payload, .headers]'; }
# wanted FROM TO: the same for the records that were sent.
wanted() {
  records "$1" "$2" 1 | jq -cRs --argjson from "$1" '
    [split("\n")[:-1] | to_entries[] | (.key + $from) as $nth | (.value / "\t") as $record
      | [$nth % 3, ($nth / 3 | floor), $record[0], $record[1], ["h", "all", "empty", ""]]] | sort_by(.[0], .[1])[]'
}
same() { diff "$1" "$2" >&2 || fail "$3: other than was sent"; }
# whole TOPIC COUNT: reads all partitions and compares.
whole() {
  for partition in 0 1 2; do read_ "$1" $partition beginning; done >"$work/read"
  shown <"$work/read" >"$work/shown"
  wanted 0 "$2" >"$work/wanted"
  same "$work/wanted" "$work/shown" "$1"
}

codecs() {
  for codec in none gzip snappy lz4 zstd; do
    produce "$topic-$codec" 0 100 -z $codec
    whole "$topic-$codec" 100
  done
}

one_record() {
  # One record a run: its own headers. With -Z empty is null.
  printf '%s\t%s\n' "$2" "$3" >"$work/record"
  kcat -P -t "$topic" -p $(($1 % 3)) -K "$(printf '\t')" -H "h=$1" -H empty= "${@:4}" -l "$work/record"
}
records_() {
  local nth
  for nth in 0 1 2 3; do one_record "$nth" "k$nth" "$(value "$nth")"; done
  one_record 4 "" "$(value 4)"
  one_record 5 k5 ""
  one_record 6 "" "$(value 6)" -Z
  one_record 7 k7 "" -Z
  for partition in 0 1 2; do read_ "$topic" $partition beginning; done | shown >"$work/shown"
  for nth in 0 3 6 1 4 7 2 5; do
    jq -nc --argjson nth "$nth" --arg value "$(value "$nth")" '[$nth % 3, ($nth / 3 | floor),
      if $nth == 6 then null elif $nth == 4 then "" else "k\($nth)" end,
      if $nth == 7 then null elif $nth == 5 then "" else $value end, ["h", "\($nth)", "empty", ""]]'
  done >"$work/wanted"
  same "$work/wanted" "$work/shown" records
}

idempotent() {
  produce "$topic" 0 1000 -X enable.idempotence=true -X batch.num.messages=20
  whole "$topic" 1000
}

# offsets_from PARTITION OFFSET: the offsets that are read from there.
offsets_from() { read_ "$topic" "$1" "$2" | jq .offset | tr '\n' ' '; }
assign() {
  produce "$topic" 0 90
  whole "$topic" 90
  [ "$(offsets_from 0 17)" = "$(seq -s ' ' 17 29) " ] || fail "from 17: $(offsets_from 0 17)"
  [ "$(offsets_from 1 -5)" = "25 26 27 28 29 " ] || fail "the last five: $(offsets_from 1 -5)"
  [ -z "$(offsets_from 2 end)" ] || fail "from the end: $(offsets_from 2 end)"
  # Times that the client gave: the first record that is not before.
  local at wanted found
  at=$(read_ "$topic" 0 15 | jq -s '.[0].ts')
  wanted=$(read_ "$topic" 0 beginning | jq -s "map(select(.ts >= $at))[0].offset")
  found=$(kcat -Q -t "$topic:0:$at")
  [ "$found" = "$topic [0] offset $wanted" ] || fail "offset by time: '$found', not $wanted"
  [ "$(read_ "$topic" 0 "s@$at" | jq -s '.[0].offset')" = "$wanted" ] || fail "reading from a time"
  kcat -C -t "$topic" -p 2 -o end -c 1 -q -J >"$work/late" &
  running+=($!)
  late() {
    records 92 93 1 >"$work/records"
    kcat -P -t "$topic" -p 2 -K "$(printf '\t')" -l "$work/records"
    [ -s "$work/late" ]
  }
  until_ "a record behind the end" late
  [ "$(jq -r .payload "$work/late")" = "$(value 92)" ] || fail "behind the end: $(cat "$work/late")"
  [ "$(jq .offset "$work/late")" -ge 30 ] || fail "behind the end: $(cat "$work/late")"
}

# -E: a broker that is away for a while doesn't end kcat.
# member NAME [OPTIONS...]: joins the group, in the background; its records go to a file of its name.
member() {
  local name=$1
  shift
  command kcat -b "$bootstrap" -E -G "$prefix-g" -u -J -X auto.offset.reset=earliest -X heartbeat.interval.ms=200 -X session.timeout.ms=30000 \
    "$@" "$topic-a" "$topic-b" </dev/null >"$work/$name" 2>"$work/$name.said" &
  running+=($!)
  eval "$name=$!"
}
# part NAME: what a member has, by what it said of each rebalance.
part() {
  awk '/rebalanced.*(assign|revoke)/ {
      gains = /assign/; at = match($0, /\): (assigned: |revoked: )?/); list = substr($0, at + RLENGTH)
      if (!/incremental/) delete has
      count = split(list, partitions, ", ")
      for (nth = 1; nth <= count; nth++) if (gains) has[partitions[nth]]; else delete has[partitions[nth]]
    }
    END { for (one in has) print one }' "$work/$1.said" | sort
}
has() { [ "$(part "$1" | wc -l)" = "$2" ]; }
leaves() {
  kill -TERM "${!1}"
  wait "${!1}" || fail "$1 ended with $?: $(cat "$work/$1.said")"
}
# read_by COUNT NAME...: so many records were read by these, each once.
read_by() {
  local count=$1 files
  shift
  files=("${@/#/$work/}")
  [ "$(cat "${files[@]}" | wc -l)" -ge "$count" ] || return 1
  [ "$(cat "${files[@]}" | jq -c '[.topic, .partition, .offset]' | sort -u | wc -l)" = "$count" ] \
    || fail "$(cat "${files[@]}" | wc -l) records were read in place of $count"
}
two_share() { has first 3 && has second 3; }
share() {
  # Topics of three partitions each: two make six. A topic is there once something is in it.
  produce "$topic-a" 0 3
  produce "$topic-b" 0 3
  member first "$@"
  until_ "one has all" has first 6
  # What a member is handed while it gives the partition up, it shows and does not commit.
  until_ "the first records" read_by 6 first
  member second "$@"
  until_ "two share" two_share
  if [ "$scenario" = cooperative ]; then
    sed -n 's/.*incremental revoke.*): //p' "$work/first.said" | sed 's/, /\n/g' | sort >"$work/revoked"
    part second | same - "$work/revoked" "what was revoked"
  fi
  produce "$topic-a" 3 150
  produce "$topic-b" 3 150
  until_ "all is read" read_by 300 first second
  [ -s "$work/second" ] || fail "the second read nothing"
  leaves second
  until_ "one has all again" has first 6
  produce "$topic-a" 150 300
  produce "$topic-b" 150 300
  until_ "the rest is read" read_by 600 first second
  leaves first
  member third "$@"
  until_ "the third has all" has third 6
  produce "$topic-a" 300 303
  until_ "the third reads what is new" read_by 603 first second third
  leaves third
  for name in a b; do
    cat "$work"/first "$work"/second "$work"/third | jq -c "select(.topic == \"$topic-$name\")" | shown >"$work/shown"
    wanted 0 $([ $name = a ] && echo 303 || echo 300) >"$work/wanted"
    same "$work/wanted" "$work/shown" "what the group read of $name"
  done
}

static() {
  produce "$topic-a" 0 3
  produce "$topic-b" 0 3
  member first -X partition.assignment.strategy=roundrobin -X group.instance.id=first
  until_ "one has all" has first 6
  member second -X partition.assignment.strategy=roundrobin -X group.instance.id=second
  until_ "two share" two_share
  local had told
  had=$(part second)
  told=$(grep -c rebalanced "$work/first.said")
  leaves second
  member second -X partition.assignment.strategy=roundrobin -X group.instance.id=second
  until_ "it has its part again" has second 3
  [ "$(part second)" = "$had" ] || fail "it had $had, and has $(part second)"
  produce "$topic-a" 3 60
  all_of_a() {
    [ "$(cat "$work"/first "$work"/second | jq -r "select(.topic == \"$topic-a\") | .payload" | sort -u | wc -l)" -ge 57 ]
  }
  until_ "all is read" all_of_a
  [ "$(grep -c rebalanced "$work/first.said")" = "$told" ] || fail "the other was rebalanced: $(cat "$work/first.said")"
}

large() {
  local how=(-X message.max.bytes=4194304 -k big) said
  head -c 921600 /dev/zero | tr '\0' b >"$work/big"
  head -c 2097152 /dev/zero | tr '\0' b >"$work/bigger"
  kcat -P -t "$topic" -p 0 "${how[@]}" "$work/big"
  said=$(kcat -P -t "$topic" -p 0 "${how[@]}" "$work/bigger" 2>&1) && fail "two mebibytes were taken"
  [[ $said == *"Message size too large"* ]] || fail "two mebibytes are refused with: $said"
  value 1 >"$work/small"
  kcat -P -t "$topic" -p 0 -k small -l "$work/small"
  read_ "$topic" 0 beginning | jq -r .payload >"$work/read"
  { cat "$work/big"; echo; value 1; } | cmp - "$work/read" || fail "the large record came back as another"
}

# A writer fed by a pipe, one partition each, and a group, under which the broker is killed.
restart() {
  local kind writer fed
  topic=$prefix
  produce "$topic-a" 0 3
  produce "$topic-b" 0 3
  member reader
  mkfifo "$work/plain" "$work/once"
  for kind in plain once; do
    command kcat -b "$bootstrap" -E -P -t "$topic-$([ $kind = plain ] && echo a || echo b)" -p 0 -K "$(printf '\t')" \
      -H h=all -H empty= -X enable.idempotence=$([ $kind = once ] && echo true || echo false) -X retries=1000000 \
      -X batch.num.messages=10 <"$work/$kind" 2>"$work/$kind.said" &
    running+=($!)
    eval "$kind=$!"
  done
  exec 5>"$work/plain" 6>"$work/once"
  for fed in 5 6; do records 3 450 3 >&"$fed"; done
  # kcat holds back the last of what a pipe gives it.
  some() { [ "$(wc -l <"$work/reader")" -ge 100 ]; }
  until_ "what was written is read" some
  # What comes now is under way when the broker dies.
  for fed in 5 6; do records 450 1800 3 >&"$fed"; done
  echo restart
  read -r answer
  [ "$answer" = restarted ] || fail "the answer to restart is $answer"
  exec 5>&- 6>&-
  for kind in plain once; do
    writer=${!kind}
    wait "$writer" || fail "the writer ended with $?: $(cat "$work/$kind.said")"
  done
  read_ "$topic-b" 0 beginning | shown >"$work/shown"
  wanted 0 1800 | jq -c 'select(.[0] == 0)' >"$work/wanted"
  same "$work/wanted" "$work/shown" "what was written once"
  # What was under way may be there twice, but all is there.
  read_ "$topic-a" 0 beginning | jq -r .payload | sort -u >"$work/shown"
  records 0 1800 3 | cut -f2 | sort -u | same - "$work/shown" "what was written"
  payloads() { jq -r "select(.topic == \"$topic-b\" and .partition == 0) | .payload" "$work/reader" | sort -u | wc -l; }
  read_all() { [ "$(payloads)" = 600 ]; }
  until_ "all is read by the group" read_all
  leaves reader
  # Whoever is next goes on where they were.
  member later
  until_ "the next member has all" has later 6
  records 1800 1801 1 >"$work/records"
  kcat -P -t "$topic-b" -p 0 -K "$(printf '\t')" -l "$work/records"
  new() { [ -s "$work/later" ]; }
  until_ "the next member reads" new
  [ "$(jq -r .payload "$work/later")" = "$(value 1800)" ] || fail "the next member read $(cat "$work/later")"
  leaves later
}

case $scenario in
  topics | admin) lacks administration ;;
  delete-records) lacks "deleting records" ;;
  offsets) lacks "commits by hand" ;;
  codecs | idempotent | assign | static | large | restart) $scenario ;;
  records) records_ ;;
  group) share -X partition.assignment.strategy=roundrobin ;;
  cooperative) share -X partition.assignment.strategy=cooperative-sticky ;;
  *) fail "no scenario called $scenario" ;;
esac
echo pass
