/* SPDX-License-Identifier: Apache-2.0 */
#include "host/carry/local.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/net/address.h"
#include "host/net/netlink.h"

struct identity {
	char boot[36]; /* of this run of the kernel: nobody elsewhere knows it */
	uint64_t network_namespace, pid_namespace;
	uint32_t pid;
};

static uint64_t namespace_id(const char *path)
{
	struct stat st;
	return stat(path, &st) < 0 ? 0 : st.st_ino;
}

static struct identity identity_of_self(void)
{
	struct identity id = {.network_namespace = namespace_id("/proc/self/ns/net"),
			      .pid_namespace = namespace_id("/proc/self/ns/pid"),
			      .pid = (uint32_t)getpid()};
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (read(fd, id.boot, sizeof(id.boot)) != sizeof(id.boot))
			memset(id.boot, 0, sizeof(id.boot));
		close(fd);
	}
	return id;
}

bool local_stream(const struct sockaddr_storage *own, const struct sockaddr_storage *peer)
{
	struct in6_addr address;
	if (own->ss_family == AF_UNIX || (ip_of(own, &address) && ip_is_loopback(&address)))
		return true;
	if (!ip_of(peer, &address))
		return false;
	struct place place;
	int route = netlink_open(NETLINK_ROUTE);
	bool local = route >= 0 && address_find(route, &address, &place) != -ENOENT;
	if (route >= 0)
		close(route);
	return local;
}

void local_put(struct bytes *out)
{
	struct identity id = identity_of_self();
	/* Yama would let parents only; root may anyway. */
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	bytes_put(out, id.boot, sizeof(id.boot));
	bytes_put_u64(out, id.network_namespace);
	bytes_put_u64(out, id.pid_namespace);
	bytes_put_u32(out, id.pid);
}

int local_open(struct reader *in, int *pidfd, struct failure *why)
{
	struct identity own = identity_of_self(), other = {0};
	reader_get(in, other.boot, sizeof(other.boot));
	other.network_namespace = reader_u64(in);
	other.pid_namespace = reader_u64(in);
	other.pid = reader_u32(in);
	if (in->error)
		return fail(why, in->error, "the manifest is damaged");
	bool same = memcmp(own.boot, other.boot, sizeof(own.boot)) == 0 && own.network_namespace &&
		    own.network_namespace == other.network_namespace &&
		    own.pid_namespace == other.pid_namespace;
	if (!same)
		return fail(
		    why, -EXDEV,
		    "source and destination talk over one host's own addresses but do not share its network "
		    "and process namespaces; let the migration run over an address of the destination's own");
	*pidfd = (int)syscall(SYS_pidfd_open, other.pid, 0);
	return *pidfd < 0 ? fail(why, -errno, "process %u: %s", other.pid, strerror(errno)) : 0;
}

int local_take(int pidfd, int fd)
{
	int taken = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	if (taken < 0)
		return -errno;
	struct stat st;
	if (fstat(taken, &st) == 0 && S_ISSOCK(st.st_mode))
		return taken;
	close(taken);
	return -ENOTSOCK;
}
