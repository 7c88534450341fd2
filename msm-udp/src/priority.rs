//! Who goes first where several threads want one core.

use std::io;

/// What is added to the nice value of who gives way: a thread that has no nice value of its own gets ten times the time where both want it.
const NICER: libc::c_int = 10;
/// How long a turn who gives way asks for, in nanoseconds: the kernel's longest.
const LONG_TURN: u64 = 100_000_000;
/// How long a turn is asked for by who has little to do at a time, and that at once: the kernel's shortest.
const SHORT_TURN: u64 = 100_000;
/// The lowest real-time priority: before every thread that has none, and behind all others that have one.
const REAL_TIME: u32 = 1;
/// `SCHED_FLAG_RESET_ON_FORK`: threads that it starts ask for what others do.
const NOT_INHERITED: u64 = 1;

/// `struct sched_attr` of `sched_setattr(2)`, in its first version.
#[repr(C)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    /// Of threads that are not real-time: how long a turn is. Linux before 6.12 does not look at it.
    runtime: u64,
    deadline: u64,
    period: u64,
}

impl Attributes {
    fn new(policy: libc::c_int, flags: u64, nice: i32, turn: u64) -> Self {
        let size = size_of::<Self>() as u32;
        Self { size, policy: policy as u32, flags, nice, priority: 0, runtime: turn, deadline: 0, period: 0 }
    }

    /// Of the calling thread.
    fn set(&self) -> io::Result<()> {
        // SAFETY: the pointer is to a structure of the size that it tells, and alive until the call returns.
        let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const *self, 0) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// The nice value of the calling thread.
fn nice() -> libc::c_int {
    // SAFETY: takes numbers. On Linux 0 is the calling thread and no other of the process.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// Has the calling thread let others go first from now on, for work that takes many milliseconds in a process whose packets may not wait.
/// It still gets on where others take all the time there is, at a tenth of the speed. Needs no privilege, and cannot be taken back.
///
/// # Errors
///
/// The kernel's; then nothing has changed.
pub fn give_way() -> io::Result<()> {
    let nice = nice().saturating_add(NICER).min(19);
    if Attributes::new(libc::SCHED_BATCH, 0, nice, LONG_TURN).set().is_ok() {
        return Ok(());
    }
    // A sandbox may know the older call only.
    // SAFETY: takes numbers.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has the calling thread, which does little at a time, begin with it at once from now on. Since Linux 6.12 a thread that wakes up takes
/// the place of one that asks for longer turns, as those do that ask for none, instead of waiting for the end of its turn: that is, some
/// milliseconds. It gets no more time than it would. Threads that it starts are as others are; one that is real-time, or of another policy
/// than usual, stays as it is. Needs no privilege.
///
/// # Errors
///
/// The kernel's; then nothing has changed.
pub fn take_short_turns() -> io::Result<()> {
    // SAFETY: takes a number.
    let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) };
    if policy != libc::c_long::from(libc::SCHED_OTHER) {
        return Ok(());
    }
    Attributes::new(libc::SCHED_OTHER, NOT_INHERITED, nice(), SHORT_TURN).set()
}

/// Has the calling thread go before all that are not real-time from now on, on whichever core it is woken up (`SCHED_RR`, of the lowest
/// priority). Threads that it starts are as others are. Takes `CAP_SYS_NICE`, or an `RLIMIT_RTPRIO` of 1 at least.
///
/// Whoever takes all of a core's time leaves the rest of the machine a twentieth of it (`sched_rt_runtime_us`; since Linux 6.12 the fair server).
///
/// # Errors
///
/// The kernel's; then nothing has changed.
pub fn be_real_time() -> io::Result<()> {
    Attributes { priority: REAL_TIME, ..Attributes::new(libc::SCHED_RR, NOT_INHERITED, 0, 0) }.set()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `sched_getattr(2)`, of the calling thread.
    fn now() -> Attributes {
        let mut own = Attributes::new(-1, 0, 0, 0);
        let size = size_of::<Attributes>();
        // SAFETY: the pointer is to a structure of the size that is told, and alive until the call returns.
        let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut own, size, 0) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        own
    }

    /// Whether the kernel knows of turns, and by that whether it is one since 6.12.
    fn is_turn(own: &Attributes, turn: u64) -> bool {
        own.runtime == turn || own.runtime == 0
    }

    #[test]
    fn the_calling_thread_gives_way_and_no_other() {
        let before = nice();
        let inside = std::thread::spawn(|| give_way().map(|()| (nice(), now()))).join().expect("no panic");
        let (inside, own) = inside.expect("allowed");
        assert_eq!(inside, (before + NICER).min(19));
        assert_eq!(own.policy, libc::SCHED_BATCH as u32);
        assert!(is_turn(&own, LONG_TURN), "{}", own.runtime);
        assert_eq!(nice(), before);
    }

    #[test]
    fn short_turns_are_the_calling_threads_own() {
        let before = (nice(), now().runtime);
        let inside = || {
            take_short_turns().expect("allowed");
            let below = std::thread::spawn(now).join().expect("no panic");
            (nice(), now(), below)
        };
        let (inside, own, below) = std::thread::spawn(inside).join().expect("no panic");
        assert_eq!((inside, own.policy), (before.0, libc::SCHED_OTHER as u32));
        assert!(is_turn(&own, SHORT_TURN), "{}", own.runtime);
        assert_eq!((nice(), now().runtime, below.runtime), (before.0, before.1, before.1));
    }

    #[test]
    fn who_gives_way_does_not_come_first() {
        let inside = || (give_way(), take_short_turns(), now().policy);
        let (gave, came, policy) = std::thread::spawn(inside).join().expect("no panic");
        assert!(gave.is_ok() && came.is_ok());
        assert_eq!(policy, libc::SCHED_BATCH as u32);
    }

    #[test]
    fn who_is_real_time_is_it_alone() {
        let inside = || {
            let allowed = be_real_time();
            let own = now();
            (allowed, own, std::thread::spawn(now).join().expect("no panic"))
        };
        let (allowed, own, below) = std::thread::spawn(inside).join().expect("no panic");
        match allowed {
            Ok(()) => assert_eq!((own.policy, own.priority), (libc::SCHED_RR as u32, REAL_TIME)),
            // Who is not root may not.
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EPERM));
                assert_eq!(own.policy, libc::SCHED_OTHER as u32);
            }
        }
        assert_eq!((below.policy, below.priority), (libc::SCHED_OTHER as u32, 0));
    }
}
