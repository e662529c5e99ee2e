#!/usr/bin/env bash
# Installs the Debian packages whose programs some tests run, where they are missing. Only root with
# apt-get can; everybody else is told the command. Never fails: tests skip what is not there.
set -u

# package:program, the one list of them. CONTRIBUTING.md says which tests want which.
PACKAGES=(
  chromium:chromium curl:curl dicom3tools:dciodvfy jq:jq nodejs:node npm:npm openssl:openssl
)

missing=()
for entry in "${PACKAGES[@]}"; do
  command -v "${entry#*:}" >/dev/null || missing+=("${entry%%:*}")
done
if ((${#missing[@]} == 0)); then
  exit 0
fi

install=(apt-get install -y --no-install-recommends "${missing[@]}")
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing for the tests: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # Another apt-get may be at work: wait for it. What it prints is shown where it fails.
  if said=$({ apt-get update && "${install[@]}" -o DPkg::Lock::Timeout=300; } 2>&1); then
    exit 0
  fi
  tail -n 5 <<<"$said" >&2
fi
echo "some tests skip without ${missing[*]}; to have them: sudo ${install[*]}" >&2
