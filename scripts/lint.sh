#!/usr/bin/env bash
# Runs every linter and fails if any of them has something to say.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
go=${GO:-go}
# The release of staticcheck that knows the Go version of go.mod.
staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2
failed=0

# check NAME COMMAND...: fails if the command fails or prints anything.
check() {
	local name=$1 output status
	shift
	output=$("$@" 2>&1)
	status=$?
	# What the go command downloads is no finding.
	output=$(grep -v '^go: downloading ' <<<"$output")
	if [[ $status -ne 0 || -n $output ]]; then
		printf '%s:\n%s\n' "$name" "$output"
		failed=1
	fi
}

mapfile -t programs < <(find . -name '*.go' -not -path './bin/*' -not -path './.git/*')
mapfile -t shell < <(find .ci scripts -type f \( -name '*.sh' -o -path '.ci/*' \))

check gofmt "$("$go" env GOROOT)/bin/gofmt" -l "${programs[@]}"
check vet "$go" vet ./...
check "vet of scripts/tools/helm" "$go" -C scripts/tools/helm vet ./...
check "vet of stories on a cluster" "$go" vet -tags cluster ./scripts/kubernetes/stories
check staticcheck "$go" run "$staticcheck" ./...
check "staticcheck of stories on a cluster" "$go" run "$staticcheck" -tags cluster ./scripts/kubernetes/stories
check shellcheck shellcheck "${shell[@]}"
((failed)) || echo "lint: clean"
exit "$failed"
