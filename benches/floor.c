/*
 * The floor: the same work with as few system calls as Linux allows, and no
 * HTTP at all. What a real server costs above this is its own.
 *
 *   floor MODE PORT REPLY [WORKERS]
 *
 *   ka     keep-alive: recv, send; every read is a request
 *   pipe   pipelined: recv, count blank lines, one send
 *   own    close: accept, recv, send, close, in one process
 *   pass   close, handed over to each worker in turn:
 *
 *        master: accept4 until empty ── sendmsg, up to 253 at once ──▶ worker:
 *                close_range                     recvmsg, recv, send, close
 *
 *   more   as pass, with one packet less for each connection, and with the
 *          master's copies kept until the worker has the connection:
 *
 *        master: accept4 until empty ── sendmsg, up to 253 at once ──▶ worker:
 *                close_range of what     ◀┄ count ┄┄  recvmsg, count, recv,
 *                the count covers                     send with MSG_MORE,
 *                                                     shutdown, close
 *
 *          A kept copy keeps the connection open, so close alone does not end
 *          it. MSG_MORE has the kernel hold the reply back until the shutdown
 *          (send(2)), whose FIN then leaves in the same segment.
 *
 * REPLY is sent as it is, so give it what the server to compare with answers.
 * It takes a read for a whole request (pipe: for whole requests), which holds
 * on loopback for clients that write a request at once, and nowhere else.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	BATCH = 253,      /* SCM_MAX_FD, unix(7) */
	WORKERS = 64,
	EVENTS = 256,
	INPUT = 64 << 10,
	PIPELINE = 1024,  /* replies to one read */
	KEPT = 1 << 16,   /* copies of the master's, a power of two */
	GLANCE = 10,      /* ms until it looks at the counts unasked */
};

static char input[INPUT];
static const char *reply;
static size_t reply_length;

static int must(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
	return result;
}

static void set(int fd, int level, int option)
{
	int one = 1;
	must(setsockopt(fd, level, option, &one, sizeof one), "setsockopt");
}

static int listen_on(int port, int deferred)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	int fd = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket");
	set(fd, SOL_SOCKET, SO_REUSEADDR);
	set(fd, SOL_SOCKET, SO_REUSEPORT);
	set(fd, IPPROTO_TCP, TCP_NODELAY); /* accepted sockets inherit it */
	if (deferred)
		set(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT);
	at.sin_port = htons((unsigned short)port);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(bind(fd, (struct sockaddr *)&at, sizeof at), "bind");
	must(listen(fd, 4096), "listen");
	return fd;
}

static int accept_next(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	if (fd < 0 && errno != EAGAIN && errno != ECONNABORTED)
		must(fd, "accept4");
	return fd;
}

static void watch(int poll, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
	must(epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

/* The whole life of a connection that ends with its first reply. */
static void answer_and_close(int fd)
{
	if (recv(fd, input, sizeof input, 0) > 0)
		send(fd, reply, reply_length, MSG_NOSIGNAL);
	close(fd);
}

/* The same where another process may hold a copy, reply and end in one. */
static void answer_and_end(int fd)
{
	if (recv(fd, input, sizeof input, 0) > 0)
		send(fd, reply, reply_length, MSG_NOSIGNAL | MSG_MORE);
	shutdown(fd, SHUT_RDWR);
	close(fd);
}

static size_t blank_lines(size_t length)
{
	const char *at = input, *end = input + length;
	size_t count = 0;
	while ((at = memmem(at, (size_t)(end - at), "\r\n\r\n", 4)) != NULL) {
		at += 4;
		count++;
	}
	return count;
}

/* Several processes that do the same, each with a listener of its own. */
static void multiply(int workers)
{
	while (--workers > 0) {
		if (must(fork(), "fork") == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			return;
		}
	}
}

static void keep_alive(int listener, int pipelined)
{
	struct epoll_event events[EVENTS];
	int poll = must(epoll_create1(0), "epoll_create1");
	char *replies = malloc(PIPELINE * reply_length);
	if (replies == NULL)
		abort();
	for (size_t i = 0; i < PIPELINE; i++)
		memcpy(replies + i * reply_length, reply, reply_length);
	watch(poll, listener);
	for (;;) {
		int ready = epoll_wait(poll, events, EVENTS, -1);
		for (int i = 0; i < ready; i++) {
			int fd = events[i].data.fd;
			ssize_t got;
			size_t count = 1;
			if (fd == listener) {
				while ((fd = accept_next(listener)) >= 0)
					watch(poll, fd);
				continue;
			}
			got = recv(fd, input, sizeof input, 0);
			if (got <= 0) {
				close(fd);
				continue;
			}
			if (pipelined)
				count = blank_lines((size_t)got);
			if (count > PIPELINE)
				abort();
			send(fd, replies, count * reply_length, MSG_NOSIGNAL);
		}
	}
}

static void own(int listener)
{
	struct epoll_event event;
	int fd, poll = must(epoll_create1(0), "epoll_create1");
	watch(poll, listener);
	for (;;) {
		epoll_wait(poll, &event, 1, -1);
		while ((fd = accept_next(listener)) >= 0)
			answer_and_close(fd);
	}
}

/* One message with these descriptors, or room for so many. */
struct message {
	struct msghdr header;
	struct iovec part;
	char byte;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(BATCH * sizeof(int))];
	} control;
};

static struct cmsghdr *prepare(struct message *m, size_t count)
{
	memset(&m->header, 0, sizeof m->header);
	m->part = (struct iovec){ &m->byte, 1 };
	m->header.msg_iov = &m->part;
	m->header.msg_iovlen = 1;
	m->header.msg_control = m->control.bytes;
	m->header.msg_controllen = CMSG_SPACE(count * sizeof(int));
	return CMSG_FIRSTHDR(&m->header);
}

static void hand_over(int channel, const int *fds, int count)
{
	static struct message m;
	size_t size = (size_t)count * sizeof(int);
	struct cmsghdr *rights = prepare(&m, (size_t)count);
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(rights), fds, size);
	must((int)sendmsg(channel, &m.header, 0), "sendmsg");
}

/* In runs of neighbouring numbers. */
static void release(const int *fds, int count)
{
	for (int first = 0, next; first < count; first = next) {
		next = first + 1;
		while (next < count && fds[next] == fds[next - 1] + 1)
			next++;
		if (next == first + 1)
			close(fds[first]);
		else /* musl has no name */
			syscall(SYS_close_range, fds[first], fds[next - 1], 0);
	}
}

/* Connections that each worker has taken, in memory of all processes. */
static atomic_uint *taken;

/* The master's copies, in the order in which it accepted. */
static struct {
	struct { int fd, worker; unsigned number; } of[KEPT];
	unsigned first, next, given[WORKERS];
} kept;

static void keep(int fd, int worker)
{
	unsigned at = kept.next++ % KEPT;
	if (kept.next - kept.first > KEPT)
		abort();
	kept.of[at].fd = fd;
	kept.of[at].worker = worker;
	kept.of[at].number = ++kept.given[worker];
}

/* Up to the first that its worker does not have yet. */
static void release_taken(void)
{
	static int fds[KEPT];
	int count = 0;
	for (; kept.first != kept.next; kept.first++) {
		unsigned at = kept.first % KEPT;
		unsigned has = atomic_load(&taken[kept.of[at].worker]);
		if ((int)(has - kept.of[at].number) < 0)
			break;
		fds[count++] = kept.of[at].fd;
	}
	release(fds, count);
}

static void pass_master(int listener, const int *channels, int workers,
			int more)
{
	static int shares[WORKERS][BATCH];
	struct epoll_event event;
	int turn = 0, poll = must(epoll_create1(0), "epoll_create1");
	watch(poll, listener);
	for (;;) {
		int fds[BATCH], sizes[WORKERS] = { 0 }, count = 0;
		int patience = kept.first == kept.next ? -1 : GLANCE;
		epoll_wait(poll, &event, 1, patience);
		release_taken();
		while (count < BATCH && (fds[count] = accept_next(listener)) >= 0) {
			turn = (turn + 1) % workers;
			if (more)
				keep(fds[count], turn);
			shares[turn][sizes[turn]++] = fds[count++];
		}
		for (int i = 0; i < workers; i++)
			if (sizes[i] > 0)
				hand_over(channels[i], shares[i], sizes[i]);
		if (!more)
			release(fds, count);
	}
}

static void pass_worker(int channel, int number, int more)
{
	static struct message m;
	struct epoll_event event;
	int poll = must(epoll_create1(0), "epoll_create1");
	watch(poll, channel);
	for (;;) {
		struct cmsghdr *rights;
		epoll_wait(poll, &event, 1, -1);
		prepare(&m, BATCH);
		if (recvmsg(channel, &m.header, 0) <= 0)
			exit(0); /* the master is gone */
		rights = CMSG_FIRSTHDR(&m.header);
		if (rights == NULL)
			continue;
		size_t count = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		if (more)
			atomic_fetch_add(&taken[number], (unsigned)count);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(rights) + i * sizeof fd, sizeof fd);
			if (more)
				answer_and_end(fd);
			else
				answer_and_close(fd);
		}
	}
}

static void pass(int listener, int workers, int more)
{
	int channels[WORKERS], ends[2];
	taken = mmap(NULL, WORKERS * sizeof *taken, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (taken == MAP_FAILED)
		must(-1, "mmap");
	for (int i = 0; i < workers; i++) {
		must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), "socketpair");
		if (must(fork(), "fork") == 0) {
			int number = i;
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(listener);
			close(ends[0]);
			while (i > 0)
				close(channels[--i]);
			pass_worker(ends[1], number, more);
		}
		close(ends[1]);
		channels[i] = ends[0];
	}
	pass_master(listener, channels, workers, more);
}

int main(int argc, char **argv)
{
	struct rlimit files;
	const char *mode = argc >= 4 ? argv[1] : "";
	int port = argc >= 4 ? atoi(argv[2]) : 0;
	int workers = argc == 5 ? atoi(argv[4]) : 1;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	reply = argc >= 4 ? argv[3] : "";
	reply_length = strlen(reply);
	if (workers < 1 || workers > WORKERS)
		mode = "";
	if (strcmp(mode, "pass") != 0 && strcmp(mode, "more") != 0)
		multiply(workers);
	if (strcmp(mode, "ka") == 0)
		keep_alive(listen_on(port, 0), 0);
	else if (strcmp(mode, "pipe") == 0)
		keep_alive(listen_on(port, 0), 1);
	else if (strcmp(mode, "own") == 0)
		own(listen_on(port, 1));
	else if (strcmp(mode, "pass") == 0)
		pass(listen_on(port, 1), workers, 0);
	else if (strcmp(mode, "more") == 0)
		pass(listen_on(port, 1), workers, 1);
	fprintf(stderr, "usage: floor ka|pipe|own|pass|more PORT REPLY [WORKERS]\n");
	return 2;
}
