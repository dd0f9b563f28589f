#!/usr/bin/env bash
# Install what is missing on this machine:   scripts/setup-system.sh python|services|demo
#   python     Python 3.11 or newer that can make virtual environments
#   services   the binaries that tests start on private ports: MariaDB, Redis, sshd, ssh, git; sudo, busybox, faketime, a browser
#   demo       what the quickstart's commands call: openssl
# By apt, as root or with sudo. Installs only what is missing, removes nothing and starts no service. Where it
# cannot, it says what to install: fatal for `python` and in CI, else tests skip what is not there, by name.
set -euo pipefail
group=${1:?python or services}
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

say() { printf 'setup-system: %s\n' "$*" >&2; }

fits() { command -v "$1" >/dev/null && "$1" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

has_python() {
  local name
  for name in ${PYTHON:-} python3 python3.13 python3.12 python3.14 python3.11; do fits "$name" && return; done
  return 1
}

missing() { # what is missing, one package a line
  case $group in
    python) has_python || printf '%s\n' python3 python3-venv ;;
    services)
      command -v mariadbd >/dev/null && { command -v mariadb-install-db || command -v mysql_install_db; } >/dev/null || echo mariadb-server
      command -v redis-server >/dev/null || echo redis-server
      command -v sshd >/dev/null || echo openssh-server
      { command -v ssh && command -v ssh-keygen; } >/dev/null || echo openssh-client
      command -v git >/dev/null || echo git
      command -v sudo >/dev/null || echo sudo
      command -v busybox >/dev/null || echo busybox
      command -v faketime >/dev/null || echo faketime
      command -v openssl >/dev/null || echo openssl
      # Ubuntu's package of that name only fetches one from its own store
      { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null || echo chromium
      ;;
    demo) command -v openssl >/dev/null || echo openssl ;;
    *) say "no such group: $group"; exit 64 ;;
  esac
}

give_up() {
  say "$1"
  say "please install: $(missing | paste -sd ' ')"
  if [[ $group == python || ${CI:-} =~ ^(1|true|yes)$ ]]; then exit 1; fi
  say "going on without; tests that need them are skipped by name"
  exit 0
}

as_root() {
  if [[ $(id -u) == 0 ]]; then "$@"; else "${sudo[@]}" "$@"; fi
}

install() {
  # --no-remove: on a machine with another database server installed, stop rather than replace it.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends --no-remove \
    -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" >&2 </dev/null
}

mapfile -t packages < <(missing)
[[ ${#packages[@]} == 0 ]] && exit 0
command -v apt-get >/dev/null || give_up "this is not Debian or Ubuntu"
sudo=()
if [[ $(id -u) != 0 ]]; then
  command -v sudo >/dev/null || give_up "installing needs root, and there is no sudo"
  if sudo -n true 2>/dev/null; then sudo=(sudo -n)
  elif [[ -t 0 ]]; then sudo=(sudo)
  else give_up "installing needs root, and sudo wants a password"
  fi
fi

say "installing ${packages[*]}"
# Debian starts a service as it is installed; this file forbids it, for as long as we install.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"
  trap 'as_root rm -f "$policy"' EXIT
fi
if ! install "${packages[@]}" 2>/dev/null; then
  as_root apt-get update --quiet >&2 || say "apt-get update failed; trying with the lists at hand"
  install "${packages[@]}" || give_up "apt-get could not install ${packages[*]}"
fi
if [[ $group == python ]] && ! has_python; then
  # The distribution's own python3 is older; some carry newer ones beside it.
  for version in 3.13 3.12 3.11; do
    install "python$version" "python$version-venv" 2>/dev/null && break
  done
fi
if [[ -d /run/systemd/system ]]; then
  # Nor at the next boot: the tests start what they need by themselves.
  for package in "${packages[@]}"; do
    case $package in
      mariadb-server) as_root systemctl disable --quiet mariadb.service || true ;;
      redis-server) as_root systemctl disable --quiet redis-server.service || true ;;
      openssh-server) as_root systemctl disable --quiet ssh.service ssh.socket 2>/dev/null || true ;;
    esac
  done
fi
mapfile -t packages < <(missing)
[[ ${#packages[@]} == 0 ]] || give_up "still missing after the installation"
