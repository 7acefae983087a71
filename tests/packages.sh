# shellcheck shell=sh
# Sourced by the scripts that need packages. install_packages "LIST OF WORDS": installs from Debian what
# is missing, which needs root; sets `missing` to it. What apt says goes to standard error.
install_packages()
{
    missing=
    for package in $1; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update >&2
    # shellcheck disable=SC2086 # a list of words
    apt-get -qq install -y --no-install-recommends $missing >&2
}
