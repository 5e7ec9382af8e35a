/* A system that refuses something: executes a program under a filter
 * (seccomp(2)) that answers one of its system calls in the kernel's place.
 *
 *   refuse CALL ERRNO PROGRAM [ARGUMENT...]
 *
 * ERRNO is a number; 0 has the call do nothing, and succeed. It may also be
 * "wait": the call does not return, as on a file system that does not answer.
 * Exit status 77: no filter may be installed here.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the lower half of an argument is looked for where it begins"
#endif

/* What an argument has to be, or not to be, for the call to be answered;
 * `argument` is -1 where any will do. */
struct condition {
	int argument;
	unsigned value;
	int equal;
};

#define ANY { -1, 0, 1 }

/* C library functions that share a system call go by their own names. */
static const struct rule {
	const char *name;
	long number;
	struct condition conditions[2];
} rules[] = {
	{ "setrlimit", SYS_prlimit64, { { 2, 0, 0 }, ANY } },
	{ "getrlimit", SYS_prlimit64, { { 2, 0, 1 }, ANY } },
	{ "close_range", SYS_close_range, { ANY, ANY } },
	{ "memfd_create", SYS_memfd_create, { ANY, ANY } },
	{ "MFD_NOEXEC_SEAL", SYS_memfd_create,
	  { { 1, MFD_CLOEXEC | MFD_ALLOW_SEALING | 8, 1 }, ANY } },
	{ "pidfd_open", SYS_pidfd_open, { ANY, ANY } },
	{ "pidfd_send_signal", SYS_pidfd_send_signal, { ANY, ANY } },
	{ "signalfd", SYS_signalfd4, { ANY, ANY } },
	{ "accept4", SYS_accept4, { ANY, ANY } },
	{ "setgroups", SYS_setgroups, { ANY, ANY } },
	{ "chdir", SYS_chdir, { ANY, ANY } },
	{ "TCP_INFO", SYS_getsockopt,
	  { { 1, IPPROTO_TCP, 1 }, { 2, TCP_INFO, 1 } } },
};

#define LENGTH(array) (sizeof(array) / sizeof(*(array)))

/* The lower half of an argument: all that these have, but for pointers, of
 * which two never differ in the upper half alone. */
static unsigned at(int argument)
{
	return offsetof(struct seccomp_data, args) + 8 * argument;
}

static int refuse(const struct rule *rule, unsigned action)
{
	struct sock_filter code[16];
	int length = 0, jumps[4], count = 0;

	code[length++] = (struct sock_filter)BPF_STMT(
	    BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	jumps[count++] = length;
	code[length++] = (struct sock_filter)BPF_JUMP(
	    BPF_JMP | BPF_JEQ | BPF_K, rule->number, 0, 0);
	for (size_t i = 0; i < LENGTH(rule->conditions); i++) {
		const struct condition *is = &rule->conditions[i];
		if (is->argument < 0)
			continue;
		code[length++] = (struct sock_filter)BPF_STMT(
		    BPF_LD | BPF_W | BPF_ABS, at(is->argument));
		jumps[count++] = length;
		code[length++] = (struct sock_filter)BPF_JUMP(
		    BPF_JMP | BPF_JEQ | BPF_K, is->value, 0, 0);
	}
	code[length++] = (struct sock_filter)BPF_STMT(
	    BPF_RET | BPF_K, action);
	code[length] = (struct sock_filter)BPF_STMT(
	    BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	/* Whatever does not fit goes to the last line; the first test is of the
	 * number, the others are those of the conditions, in turn. */
	for (int i = 0, next = 0; i < count; i++) {
		int equal = 1;
		if (i > 0) {
			while (rule->conditions[next].argument < 0)
				next++;
			equal = rule->conditions[next++].equal;
		}
		unsigned char away = length - jumps[i] - 1;
		*(equal ? &code[jumps[i]].jf : &code[jumps[i]].jt) = away;
	}
	struct sock_fprog program = { length + 1, code };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	if (action != SECCOMP_RET_USER_NOTIF)
		return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
	/* Whoever calls waits for whoever holds this, who never answers: the
	 * copy outlives exec. */
	int listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			       SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
	return listener < 0 ? -1 : dup(listener);
}

int main(int count, char **words)
{
	const struct rule *rule = NULL;

	if (count < 4) {
		fprintf(stderr, "refuse CALL ERRNO PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	for (size_t i = 0; i < LENGTH(rules); i++)
		if (strcmp(rules[i].name, words[1]) == 0)
			rule = &rules[i];
	if (!rule) {
		fprintf(stderr, "refuse: no rule for %s\n", words[1]);
		return 2;
	}
	unsigned action = strcmp(words[2], "wait") == 0
			      ? SECCOMP_RET_USER_NOTIF
			      : SECCOMP_RET_ERRNO | (unsigned)atoi(words[2]);
	if (refuse(rule, action) < 0) {
		perror("refuse: no filter");
		return 77;
	}
	execv(words[3], words + 3);
	perror(words[3]);
	return 127;
}
