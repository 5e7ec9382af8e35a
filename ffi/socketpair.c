/*
 * Two processes talk over one socketpair: the seed from which the rest of
 * this project grows. A pipe carries bytes one way; a socketpair both ways,
 * and later, with SCM_RIGHTS, open files too.
 *
 *     parent                                                child
 *       │ says its pid, forks, says so
 *       │ ──────────── "a message to child  process!\n" ────▶ │
 *       │                                      says its pid, │
 *       │                               then what it has read │
 *       │ ◀─────────── "a message to parent process!\n" ───── │
 *       │ says what it has read, waits for the child
 *
 * Nobody writes to the other before its own lines are out, so they appear in
 * this order without a sleep. A stream keeps no borders between messages:
 * the newline is the border, here as in Node's channel.
 *
 *     socketpair               the whole dialogue
 *     socketpair parent FD     one end of it, over FD: an inherited,
 *     socketpair child FD      blocking, connected stream socket
 *
 * The exit status is 0 after a whole dialogue, 1 if a call failed or the
 * other end did, 2 for arguments that mean nothing.
 * `handoff demo socketpair` is the same program in Rust.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* The article's words, its two spaces included. */
static const char to_child[] = "a message to child  process!\n";
static const char to_parent[] = "a message to parent process!\n";

/* Says on stderr which call failed and why; false, for the caller's return. */
static bool failed(const char *call)
{
    fprintf(stderr, "socketpair: %s: %s\n", call, strerror(errno));
    return false;
}

/* MSG_NOSIGNAL: a peer that is gone is an EPIPE here, not a SIGPIPE. */
static bool send_line(int fd, const char *line)
{
    size_t sent = 0, length = strlen(line);

    while (sent < length) {
        ssize_t n = send(fd, line + sent, length - sent, MSG_NOSIGNAL);
        if (n == -1)
            return failed("send");
        sent += (size_t)n;
    }
    return true;
}

/* Reads up to the newline, however the stream may have cut the line. */
static bool read_line(int fd, char *line, size_t size)
{
    size_t length = 0;

    while (length == 0 || line[length - 1] != '\n') {
        /* No room left asks for 0 bytes, and so also gets 0. */
        ssize_t n = read(fd, line + length, size - 1 - length);
        if (n == -1)
            return failed("read");
        if (n == 0) {
            fputs("socketpair: the other end sent no whole line\n", stderr);
            return false;
        }
        length += (size_t)n;
    }
    line[length] = '\0';
    return true;
}

static bool play_parent(int fd)
{
    char line[128];

    if (!send_line(fd, to_child) || !read_line(fd, line, sizeof line))
        return false;
    printf("Pid %d read string : %s", (int)getpid(), line);
    return true;
}

/* Reads before it prints: that the message is there proves that the
 * parent's lines are out. */
static bool play_child(int fd)
{
    char line[128];

    if (!read_line(fd, line, sizeof line))
        return false;
    printf("Child process's pid is :%d\n", (int)getpid());
    printf("Pid %d read string : %s", (int)getpid(), line);
    return send_line(fd, to_parent);
}

static bool play_both(void)
{
    int fds[2], status;
    bool played;
    pid_t child;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == -1)
        return failed("socketpair");
    child = fork();
    if (child == -1)
        return failed("fork");

    /* Each closes the other's end. A socket is closed when its last copy
     * is: who keeps a copy of the peer's end never reads its end of file. */
    if (child == 0) {
        close(fds[0]);
        return play_child(fds[1]);
    }
    close(fds[1]);
    printf("Fork child process successed\n"); /* as the article spells it */
    played = play_parent(fds[0]);
    close(fds[0]); /* a child that still reads is not waited for in vain */
    if (waitpid(child, &status, 0) == -1)
        return failed("waitpid");
    return played && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* A descriptor's number, or -1 for anything else. */
static int descriptor(const char *word)
{
    char *end;
    long number = strtol(word, &end, 10);

    if (*word < '0' || *word > '9' || *end != '\0' || number > INT_MAX)
        return -1;
    return (int)number;
}

int main(int argc, char **argv)
{
    const char *end = argc == 3 ? argv[1] : "both";
    bool parent = strcmp(end, "parent") == 0;
    bool child = strcmp(end, "child") == 0;
    int fd = parent || child ? descriptor(argv[2]) : -1;
    bool played;

    if (argc != 1 && fd == -1) {
        fputs("usage: socketpair [parent FD | child FD]\n", stderr);
        return 2;
    }

    /* One write for each line, also into a file or a pipe: the lines of two
     * processes don't mix, and fork copies no line that is still unwritten. */
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    if (!child)
        printf("Parent process's pid is %d\n", (int)getpid());
    played = child ? play_child(fd) : parent ? play_parent(fd) : play_both();

    if (fflush(stdout) == EOF || ferror(stdout))
        played = failed("stdout");
    return played ? EXIT_SUCCESS : EXIT_FAILURE;
}
