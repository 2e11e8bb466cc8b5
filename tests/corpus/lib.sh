# SPDX-License-Identifier: Apache-2.0
# What the programs of the corpus share, to be sourced first. Each script builds one program from Debian's source package,
# unmodified, by its own configure and Makefile with CC=optmig-cc, and moves it between hosts A and B while it works.
. "$(dirname "${BASH_SOURCE[0]}")/../e2e/lib.sh"
. tests/e2e/servers.sh
CORPUS=$BUILD/corpus
command -v curl >/dev/null || skip "needs curl"

# corpus_build PACKAGE BINARY COMMAND [SIGN-OPTION...]: COMMAND is run in the source's directory; the program is BINARY
# there, and $CORPUS/PACKAGE.signed. Once, until compiler, libc or runtime change.
corpus_build()
{
	local package=$1 binary=$CORPUS/$1/$2 command=$3 image=$CORPUS/$1.signed part; shift 3

	for part in "$BUILD"/libexec/optmig/{optmig-pass.so,enclave.o,musl/lib/libc.a}; do
		[ "$image" -nt "$part" ] || rm -f "$image"
	done
	[ ! -e "$image" ] || return 0
	mkdir -p "$CORPUS"
	scripts/fetch-source "$package" "$CORPUS/$package" || skip "Debian's source of $package could not be fetched"
	(cd "$CORPUS/$package" && export CC=$BUILD/optmig-cc && eval "$command") >"$CORPUS/$package.log" 2>&1 ||
		{ tail -n 20 "$CORPUS/$package.log"; fail "$package was not built"; }
	[ -e "$CORPUS/key.pem" ] || "$OPTMIG" keygen "$CORPUS/key.pem"
	"$OPTMIG" sign --key "$CORPUS/key.pem" "$@" -o "$image" "$binary" || fail "$package was not signed"
}

# corpus_move NAME MODE: to the other host, with its connections; again where a connection to itself was just being made. Fails
# if the program has ended.
corpus_move()
{
	local from=$server_home to=B tries

	[ "$from" = A ] || to=A
	for tries in 1 2 3 4 5; do
		move "$1" "$from" "$to" --tcp-established --mode "$2" --switch-timeout 10000 && break
		! grep -q 'program ended\|no program called' "$hosts_dir/move.err.log" || return 1
		grep -q 'try again' "$hosts_dir/move.err.log" || fail "move of $1 from $from to $to"
	done
	[ "$(said .result)" = completed ] || fail "$1 was not moved from $from to $to"
	server_home=$to
	downtimes+=("$(said .downtime_us)")
}
