#!/usr/bin/env bash
# Syncs one work to an archive and to a bucket: syncOneWork.sh -a ARCHIVE -w s3://BUCKET/PREFIX WORK_FOLDER
# In both places it has a temporary name until all of it is there and audited, so it may be killed at any time
# and run again.
set -euo pipefail

while getopts "a:w:" option; do
    case $option in
        a) archive=$OPTARG ;;
        w) web=$OPTARG ;;
        *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
work=${1:?name the folder of a work}
name=$(basename "$work")
copy=${archive:?}/.$name.part

audit-tool -v
audit-tool "$work"
mkdir -p "$archive"
rsync --recursive --times --delete "$work/" "$copy/"
webObject.py put "$copy" "${web:?}/.$name.part"
audit-tool "$copy"
webObject.py rename "$web/.$name.part" "$web/$name.zip"
rm -rf "${archive:?}/$name"
mv "$copy" "$archive/$name"
echo "$name is synced"
