package seccomp

import "golang.org/x/sys/unix"

// allowed are the calls that every container may make. The list is the one of
// Docker 29, which programs are tested with; calls absent from it on purpose are,
// among others, io_uring_* (a long row of kernel bugs, and operations that no
// filter sees), keyctl and its kin (keyrings know no namespaces), userfaultfd
// (makes races in the kernel easy to win) and kexec_load.
const allowed = "" +
	"_llseek _newselect accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 " +
	"clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep " +
	"clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 " +
	"epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit " +
	"exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown " +
	"fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 " +
	"fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv " +
	"futex_wake futimesat get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid " +
	"geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority " +
	"getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname getsockopt gettid " +
	"gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch " +
	"io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set " +
	"ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen " +
	"listmount listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack " +
	"membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect " +
	"mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink " +
	"mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat open " +
	"openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll " +
	"ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev " +
	"pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages " +
	"removexattr removexattrat rename renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction " +
	"rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 " +
	"rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam " +
	"sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam " +
	"sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile " +
	"sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid " +
	"setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid " +
	"setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr setxattrat " +
	"shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketpair splice stat stat64 " +
	"statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create " +
	"timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create " +
	"timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask " +
	"uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write " +
	"writev "

// socketFamilies are the address families that socket(2) may be asked for. Of
// those that exist today AF_ALG (38) is missing, the kernel's cryptography, which
// let a container write to the page cache of files it could only read
// (CVE-2026-31431), and AF_VSOCK (40), which knows no network namespace and
// reaches the hypervisor.
var socketFamilies = []Arg{
	{Value: unix.AF_UNSPEC}, {Value: unix.AF_UNIX}, {Value: unix.AF_INET}, {Value: unix.AF_BRIDGE}, {Value: unix.AF_ATMPVC}, {Value: unix.AF_X25}, {Value: unix.AF_INET6}, {Value: unix.AF_NETBEUI},
	{Value: unix.AF_SECURITY}, {Value: unix.AF_KEY}, {Value: unix.AF_NETLINK}, {Value: unix.AF_PACKET}, {Value: unix.AF_ASH}, {Value: unix.AF_RDS}, {Value: unix.AF_SNA}, {Value: unix.AF_PPPOX},
	{Value: unix.AF_LLC}, {Value: unix.AF_IB}, {Value: unix.AF_MPLS}, {Value: unix.AF_CAN}, {Value: unix.AF_TIPC}, {Value: unix.AF_BLUETOOTH}, {Value: unix.AF_IUCV}, {Value: unix.AF_RXRPC},
	{Value: unix.AF_PHONET}, {Value: unix.AF_IEEE802154}, {Value: unix.AF_NFC}, {Value: unix.AF_KCM}, {Value: unix.AF_QIPCRTR}, {Value: unix.AF_SMC}, {Value: unix.AF_XDP}, {Value: unix.AF_MCTP},
}
