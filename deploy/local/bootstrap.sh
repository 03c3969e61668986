#!/bin/sh
# Print the path of a `uv` that works, installing it with pip into .voxbus/bootstrap when there is none.
set -eu

root=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
home="$root/.voxbus/bootstrap"

say() { printf '%s\n' "$*" >&2; }

works() { "$1" --version >/dev/null 2>&1; }

for candidate in uv "$home/bin/uv" "${HOME:-/root}/.local/bin/uv"; do
    if works "$candidate"; then
        command -v "$candidate"
        exit 0
    fi
done

python=
for candidate in python3.13 python3.12 python3.11 python3; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    say "Voxbus needs Python 3.11, 3.12 or 3.13, and found none of them on PATH. Install one and try again."
    exit 1
fi

say "Installing uv into .voxbus/bootstrap with $python"
rm -rf "$home"
mkdir -p "$home"
if "$python" -m venv "$home" 2>/dev/null; then
    "$home/bin/python" -m pip install --quiet --disable-pip-version-check uv >&2
elif "$python" -m pip --version >/dev/null 2>&1; then
    rm -rf "$home"
    "$python" -m pip install --quiet --disable-pip-version-check --target "$home" uv >&2
else
    say "Python's venv and pip are both missing. On Debian and Ubuntu: apt-get install python3-venv"
    say "Or install uv yourself: https://docs.astral.sh/uv/getting-started/installation/"
    exit 1
fi
if ! works "$home/bin/uv"; then
    say "uv was installed into $home and does not run; install it yourself: https://docs.astral.sh/uv/"
    exit 1
fi
printf '%s\n' "$home/bin/uv"
