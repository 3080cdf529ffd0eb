#!/usr/bin/env bash
# Makes sure that the programs which a make target calls are installed.
#
#   scripts/deps.sh build|image|test|demo|cluster|race|bench|difftest|sim-fleet|lint|generate
#
# As root on Debian or Ubuntu it installs what is missing; elsewhere it says
# what is missing, and how to get it. It is silent when there is nothing to do.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

want=(go=)
network=(ip=iproute2 iptables=iptables iptables-nft=iptables iptables-legacy=iptables
	nft=nftables conntrack=conntrack tcpdump=tcpdump sysctl=procps unshare=util-linux)
# The race detector needs a C compiler; -lc is its library.
compiler=(gcc=gcc -lc=libc6-dev)
# What the container image is made of.
image=(iptables-nft=iptables iptables-legacy=iptables update-ca-certificates=ca-certificates)
# Peers that tests and benchmarks compare with.
peers=(/usr/lib/cni/ptp=containernetworking-plugins etcd=etcd-server)

case ${1-} in
build | sim-fleet) ;;
image) want+=("${image[@]}") ;;
test) want+=("${network[@]}" "${image[@]}" "${compiler[@]}" "${peers[@]}") ;;
demo) want+=("${network[@]}") ;;
cluster) want+=("${network[@]}" "${image[@]}" "${peers[@]}" containerd=containerd runc=runc) ;;
race) want+=("${compiler[@]}") ;;
bench | difftest) want+=("${network[@]}" "${peers[@]}") ;;
lint) want+=(shellcheck=shellcheck) ;;
generate) want+=(protoc=protobuf-compiler) ;;
*)
	echo "usage: $0 build|image|test|demo|cluster|race|bench|difftest|sim-fleet|lint|generate" >&2
	exit 2
	;;
esac

# present PROGRAM: a name in PATH, a path, or a library as -lNAME.
present() {
	case $1 in
	-l*) gcc "$1" -shared -o /dev/null -x c /dev/null 2>/dev/null ;;
	*) command -v "$1" >/dev/null ;;
	esac
}

# missing_packages prints the packages of what is absent, each once.
missing_packages() {
	local item
	for item in "${want[@]}"; do
		[[ -z ${item#*=} ]] || present "${item%%=*}" || echo "${item#*=}"
	done | sort -u
}

if ! present go; then
	echo "Go is missing: install Go $(sed -n 's/^go //p' "$(dirname "$0")/../go.mod") or later from https://go.dev/dl/" >&2
	exit 1
fi

mapfile -t packages < <(missing_packages)
if ((${#packages[@]} > 0)); then
	install=(apt-get install -y --no-install-recommends "${packages[@]}")
	if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
		echo "Missing: ${packages[*]}" >&2
		echo "On Debian or Ubuntu: sudo apt-get update && sudo ${install[*]}" >&2
		exit 1
	fi
	echo "Installing ${packages[*]}"
	export DEBIAN_FRONTEND=noninteractive
	lock=(-o DPkg::Lock::Timeout=120)
	# Programs are wanted, not the services of the machine that come with them.
	policy=/usr/sbin/policy-rc.d
	if [[ ! -e $policy ]]; then
		trap 'rm -f "$policy"' EXIT
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod +x "$policy"
	fi
	apt-get -qq "${lock[@]}" update
	apt-get -qq "${lock[@]}" "${install[@]:1}" >/dev/null
	mapfile -t packages < <(missing_packages)
	if ((${#packages[@]} > 0)); then
		echo "Still missing after installation: ${packages[*]}" >&2
		exit 1
	fi
fi

case $1 in
test | demo | cluster | bench | difftest)
	if ((EUID != 0)); then
		echo "make $1 works with network namespaces and needs root: sudo make $1" >&2
		exit 1
	fi
	;;
esac
