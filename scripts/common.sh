# shellcheck shell=bash
# Sourced by the scripts beside it.  Sets `repo` and `venv`; `prepare [EXTRA]` installs this checkout into .venv.

repo=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)
venv=$repo/.venv
constraints=$repo/scripts/constraints.txt

fail() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit 69
}

# What the installation was made from; another interpreter or a moved checkout makes it useless as well.
fingerprint() {
    { printf '%s\n' "$repo" && "$venv/bin/python" -V && sha256sum <"$repo/pyproject.toml" && sha256sum <"$constraints"; } 2>&1
}

# What an extra needs includes what the program needs, so without one any installation will do.
is_installed() {
    local stamp now
    now=$(fingerprint)
    for stamp in "$venv/installed${1:+-$1}"*; do
        [[ -f $stamp && $(<"$stamp") == "$now" ]] && return
    done
    return 1
}

make_venv() {
    command -v python3 >/dev/null || fail "python3 is missing: apt install python3 python3-venv"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "python3 is $(python3 -V 2>&1 | cut -d' ' -f2), 3.11 or newer is needed"
    python3 -c 'import ensurepip, venv' 2>/dev/null || fail "python3 has no venv: apt install python3-venv"
    python3 -m venv --clear "$venv" || fail "cannot make $venv"
    printf '%s\n' "$repo" >"$venv/home"
}

# uv fetches side by side: a quarter of pip's time.  It may be missing, or reach another index than pip, which then tries
# what uv could not.
install_by_uv() {
    local extra=$1 uv index compile=(--compile-bytecode)
    # Tests import half of the modules that there are, and may write where they lie.
    [[ $extra != test ]] || compile=()
    uv=$(command -v uv) || {
        "$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --no-input \
            --constraint "$constraints" uv && uv=$venv/bin/uv
    } || return
    index=${PIP_INDEX_URL:-$("$venv/bin/python" -m pip config get global.index-url || true)}
    [[ ! $index ]] || export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$index}
    UV_HTTP_RETRIES=0 "$uv" pip install --quiet "${compile[@]}" --python "$venv/bin/python" --constraint "$constraints" \
        --editable "$repo${extra:+[$extra]}"
}

install_by_pip() {
    local extra=$1
    "$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --no-input \
        --constraint "$constraints" --editable "$repo${extra:+[$extra]}"
}

install() {
    local extra=$1
    printf '%s: installing into %s (once, a minute or less)\n' "${0##*/}" "$venv" >&2
    # Neither the environment of a checkout that was moved nor one left half made is of use.
    { [[ $(cat -- "$venv/home" 2>/dev/null) == "$repo" ]] && "$venv/bin/python" -m pip --version >/dev/null 2>&1; } ||
        make_venv
    install_by_uv "$extra" 2>/dev/null || install_by_pip "$extra" || fail "pip could not install (see above)"
    # As pip does for what it copies: where Python is told to write no bytecode, each start of `cbir` would compile again.
    # Without it all works, and more slowly.
    "$venv/bin/python" -m compileall -q "$repo/cbir_daemon" || true
    # Last, so that an installation that was broken off is made again.
    fingerprint >"$venv/installed${extra:+-$extra}"
}

prepare() {
    local extra=${1:-} lock
    # Two terminals may start from nothing at the same time.  The lock goes before the daemon comes.
    exec {lock}<"$repo"
    flock "$lock"
    is_installed "$extra" || install "$extra"
    exec {lock}<&-
}

# program_alone TO WHEEL: an environment that has a wheel, the libraries of .venv, and nothing of the checkout.
program_alone() {
    local to=$1 wheel=$2 site
    "$venv/bin/python" -m venv --without-pip "$to"
    site=$("$to/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    # A path listed here is searched, but what is listed in it (the checkout) is not.
    "$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$site/libraries.pth"
    "$venv/bin/python" -m pip --python "$to/bin/python" install --quiet --no-deps --no-index --force-reinstall \
        --disable-pip-version-check "$wheel" || fail "cannot install the wheel"
}
