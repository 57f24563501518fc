#!/bin/sh
# Reports in Airflow's log folder that the kernel has killed processes of this container because memory ran out,
# and then is the health check that follows: memory.sh SERVICE COMMAND…
#
# `inv status` reads there the time of the first and of the last, how many they were, this container's limit and
# the most memory that was in use, in bytes. Docker itself forgets all of it when the container starts again.

root=${CGROUP:-/sys/fs/cgroup}
reports=${REPORTS:-/opt/airflow/logs/out-of-memory}
counted=${COUNTED:-/dev/shm/killed} # begins again with the container, as the kernel's count does

# The first line of the first of these files that there is: of version 2 or of version 1 of cgroups.
first_of() {
  for name; do
    if [ -r "$root/$name" ] && read -r line <"$root/$name"; then
      echo "$line"
      return
    fi
  done
}

report() {
  now=$(date +%s) began= before=0 host=unknown
  read -r host </etc/hostname
  file=$reports/$1.$host
  [ ! -r "$file" ] || read -r began _ before _ <"$file"
  limit=$(first_of memory.max memory/memory.limit_in_bytes)
  most=$(first_of memory.peak memory/memory.max_usage_in_bytes)
  mkdir -p "$reports" &&
    echo "${began:-$now} $now $((before + $2)) ${limit:-max} ${most:-0}" >"$file.new" && mv "$file.new" "$file"
}

service=$1 killed=0 before=0
shift
for events in "$root/memory.events" "$root/memory/memory.oom_control"; do
  [ -r "$events" ] || continue
  while read -r name number; do
    [ "$name" != oom_kill ] || killed=$number
  done <"$events"
done
[ ! -r "$counted" ] || read -r before <"$counted"
before=${before:-0}
if [ "$killed" -gt "$before" ] && echo "$before" >"$counted"; then
  report "$service" $((killed - before)) && echo "$killed" >"$counted"
fi 2>/dev/null
exec "$@"
