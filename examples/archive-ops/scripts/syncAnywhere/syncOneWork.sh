#!/usr/bin/env bash
# Copies one work into an archive: syncOneWork.sh -a ARCHIVE WORK_FOLDER
# The work appears under its name only when it is whole and its manifest is written.
set -euo pipefail

archive=
while getopts "a:h" option; do
    case $option in
        a) archive=$OPTARG ;;
        h) echo "Usage: $(basename "$0") -a ARCHIVE WORK_FOLDER"; exit 0 ;;
        *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
work=${1:?no work folder given}
: "${archive:?no archive given: -a ARCHIVE}"

name=$(basename "$work")
partial=$archive/.$name.partial
mkdir -p "$archive"
rm -rf "$partial"
cp -R "$work" "$partial"
workManifest.py "$partial" >"$partial/manifest-xxh64.txt"
rm -rf "${archive:?}/$name"
mv "$partial" "$archive/$name"
echo "$name is in $archive"
