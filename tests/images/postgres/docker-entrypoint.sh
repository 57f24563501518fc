#!/usr/bin/env bash
# First start: make the cluster, the user and the database, with the password taken
# from a file or the environment. Later starts: just run.
set -euo pipefail

if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
    POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
    unset POSTGRES_PASSWORD_FILE
    export POSTGRES_PASSWORD
fi
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" && chown -R postgres "$PGDATA" && chmod 0700 "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --clear-groups "$0" "$@"
fi

user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE}"
    mkdir -p "$PGDATA" && chmod 0700 "$PGDATA"
    if ! getent passwd "$(id -u)" >/dev/null; then  # initdb wants a named user
        NSS_WRAPPER_PASSWD=$(mktemp) NSS_WRAPPER_GROUP=$(mktemp)
        echo "postgres:x:$(id -u):$(id -g):PostgreSQL:$PGDATA:/bin/false" >"$NSS_WRAPPER_PASSWD"
        echo "postgres:x:$(id -g):" >"$NSS_WRAPPER_GROUP"
        export NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
        LD_PRELOAD=$(ls /usr/lib/*/libnss_wrapper.so)
        export LD_PRELOAD
    fi
    initdb --username="$user" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") --auth-host=scram-sha-256 >/dev/null
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    pg_ctl --silent --wait -o "-c listen_addresses=''" start
    [ "$database" = postgres ] || createdb --username="$user" "$database"
    pg_ctl --silent --wait --mode=fast stop
    unset LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
fi
unset POSTGRES_PASSWORD
exec "$@" -c listen_addresses='*'
