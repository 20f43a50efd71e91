#!/usr/bin/env bash
# Apache Kafka's own producer (its tool VerifiableProducer) as an idempotent writer while its broker is killed again and
# again. Arguments: bootstrap address, topic, a file. Writes until standard input ends, then waits for what is under way;
# the file is what the tool prints: a line of JSON for each record that was acknowledged or given up, and a sum.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
exec 3<&0
# This shell becomes the tool: the process id is its own.
{ cat <&3 >/dev/null; kill -TERM $$; } &
exec env KAFKA_TOOL_HEAP=-Xmx128m "$here/../../xtask/kafka-peer" run verifiable-producer \
  --bootstrap-server "$1" --topic "$2" --throughput 300 --acks -1 \
  --command-config "$here/kafka_producer_writer.properties" >"$3" 2>"$3.log" 3<&-
