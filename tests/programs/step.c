/*
 * Ends a process at one chosen instruction: SIGKILL, by ptrace(2).
 *
 *     step PID               how it gets from one wait to the next: for each
 *                            system call on the way the number of
 *                            instructions up to it and including it
 *     step PID end           the same, up to its end
 *     step PID CALLS STEPS   lets it return from so many system calls, then
 *                            lets it execute so many instructions, and kills
 *                            it before the next
 *     step PID CALLS in      lets it return from so many system calls, and
 *                            kills it when the next has begun: the kernel does
 *                            nothing of it any more
 *
 * The process waits in epoll_wait when this begins. The word "held" on
 * standard output says that it is stopped there; it goes on when a line comes
 * on standard input. It has waited, worked and come to its next wait when it
 * calls epoll_wait again after one that has brought it an event.
 *
 * The exit status is 0 if that was done; 3 if it had to be killed since it
 * waited for something else for too long; 4 if this may not be done here;
 * 1 if a call failed; 2 for arguments that mean nothing.
 */
#define _GNU_SOURCE

#include <elf.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FAILED = 1, USAGE = 2, LATE = 3, FORBIDDEN = 4 };

/* Longer than anything in here takes on a busy machine, but a wait. */
enum { PATIENCE = 5 };

static pid_t pid;

static volatile sig_atomic_t late;

static void fail(const char *call)
{
	fprintf(stderr, "step: %s: %s\n", call, strerror(errno));
	exit(FAILED);
}

static void kill_late(int signal)
{
	(void)signal;
	late = 1;
	kill(pid, SIGKILL);
}

/* Whether it has stopped again; otherwise it is dead. */
static bool stops(int *signal)
{
	int status;

	while (waitpid(pid, &status, __WALL) != pid)
		if (errno != EINTR)
			fail("waitpid");
	if (!WIFSTOPPED(status))
		return false;
	*signal = WSTOPSIG(status);
	return true;
}

/* Goes on up to the next stop of this kind. Signals are passed on. */
static bool go(int request)
{
	int signal = 0, wanted = SIGTRAP;

	if (request == PTRACE_SYSCALL)
		wanted |= 0x80; /* PTRACE_O_TRACESYSGOOD */
	for (;;) {
		long pass = signal & 0x80 || signal == SIGTRAP ? 0 : signal;
		if (ptrace(request, pid, NULL, pass) != 0)
			return stops(&signal) && false;
		if (!stops(&signal))
			return false;
		if (signal == wanted)
			return true;
	}
}

#if defined(__x86_64__)

static bool is_call(const struct user_regs_struct *at)
{
	long word = ptrace(PTRACE_PEEKTEXT, pid, (void *)at->rip, NULL);

	return (word & 0xffff) == 0x050f;
}

static long number(const struct user_regs_struct *at)
{
	return (long)at->rax;
}

static long result(const struct user_regs_struct *at)
{
	return (long)at->rax;
}

#elif defined(__aarch64__)

static bool is_call(const struct user_regs_struct *at)
{
	long word = ptrace(PTRACE_PEEKTEXT, pid, (void *)at->pc, NULL);

	return (word & 0xffffffff) == 0xd4000001;
}

static long number(const struct user_regs_struct *at)
{
	return (long)at->regs[8];
}

static long result(const struct user_regs_struct *at)
{
	return (long)at->regs[0];
}

#else
#define UNKNOWN_MACHINE
#endif

#ifndef UNKNOWN_MACHINE

static void look(struct user_regs_struct *at)
{
	struct iovec into = { at, sizeof *at };

	if (ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &into) != 0)
		fail("PTRACE_GETREGSET");
}

static bool is_wait(long number)
{
#ifdef SYS_epoll_wait
	if (number == SYS_epoll_wait)
		return true;
#endif
	return number == SYS_epoll_pwait;
}

static int measure(bool to_the_end)
{
	struct user_regs_struct at;
	unsigned long steps = 0;
	bool worked = false;

	for (;;) {
		look(&at);
		bool call = is_call(&at);
		bool wait = call && is_wait(number(&at));
		if (wait && worked && !to_the_end)
			break;
		steps++;
		if (!go(PTRACE_SINGLESTEP)) {
			printf("%lu\n", steps);
			return to_the_end ? 0 : late ? LATE : FAILED;
		}
		if (!call)
			continue;
		look(&at);
		worked |= wait && result(&at) > 0;
		printf("%lu\n", steps);
		steps = 0;
	}
	printf("%lu\n", steps);
	if (ptrace(PTRACE_DETACH, pid, NULL, NULL) != 0)
		fail("PTRACE_DETACH");
	return 0;
}

#else

static int measure(bool to_the_end)
{
	(void)to_the_end;
	return FORBIDDEN;
}

#endif

static int end(unsigned long stops_at_calls, unsigned long steps)
{
	for (unsigned long left = stops_at_calls; left > 0; left--)
		if (!go(PTRACE_SYSCALL))
			return late ? LATE : FAILED;
	for (unsigned long left = steps; left > 0; left--)
		if (!go(PTRACE_SINGLESTEP))
			return late ? LATE : FAILED;
	if (kill(pid, SIGKILL) != 0)
		fail("kill");
	for (int signal; stops(&signal);)
		;
	return late ? LATE : 0;
}

/* On one processor: to wake another for each instruction takes much longer. */
static void stay_together(void)
{
	cpu_set_t here;
	int cpu = sched_getcpu();

	CPU_ZERO(&here);
	CPU_SET(cpu < 0 ? 0 : cpu, &here);
	/* It is a matter of time only. */
	(void)sched_setaffinity(0, sizeof here, &here);
	(void)sched_setaffinity(pid, sizeof here, &here);
}

static unsigned long count(const char *word)
{
	char *rest;
	unsigned long value = strtoul(word, &rest, 10);

	if (rest == word || *rest != '\0')
		exit(USAGE);
	return value;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = kill_late };
	char line[16];
	int signal;

	bool measures = argc == 2 || (argc == 3 && strcmp(argv[2], "end") == 0);

	if (!measures && argc != 4)
		return USAGE;
	pid = (pid_t)count(argv[1]);
	long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
	if (ptrace(PTRACE_SEIZE, pid, NULL, options) != 0) {
		int forbidden = errno == EPERM || errno == ENOSYS;
		fprintf(stderr, "step: PTRACE_SEIZE: %s\n", strerror(errno));
		return forbidden ? FORBIDDEN : FAILED;
	}
	if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) != 0)
		fail("PTRACE_INTERRUPT");
	if (!stops(&signal))
		return FAILED;
	puts("held");
	fflush(stdout);
	if (!fgets(line, sizeof line, stdin))
		return FAILED;
	if (sigaction(SIGALRM, &action, NULL) != 0)
		fail("sigaction");
	stay_together();
	if (measures)
		return measure(argc == 3);
	alarm(PATIENCE);
	/* Each call stops twice: on the way in, on the way out. */
	unsigned long calls = 2 * count(argv[2]);
	if (strcmp(argv[3], "in") == 0)
		return end(calls + 1, 0);
	return end(calls, count(argv[3]));
}
