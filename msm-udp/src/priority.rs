//! Threads that let others go first.

use std::io;

/// What is added to the nice value: a thread that has no nice value of its own gets ten times the time where both want it.
const NICER: libc::c_int = 10;
/// How long a turn is asked for, in nanoseconds: the kernel's longest. Since Linux 6.12 a thread that wakes up and asks for a shorter one, as
/// those do that ask for none, does not wait for the end of this one.
const TURN: u64 = 100_000_000;

/// `struct sched_attr` of `sched_setattr(2)`, in its first version.
#[repr(C)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Has the calling thread let others go first from now on, for work that takes many milliseconds in a process whose packets may not wait.
/// It still gets on where others take all the time there is, at a tenth of the speed. Needs no privilege, and cannot be taken back.
///
/// # Errors
///
/// The kernel's; then nothing has changed.
pub fn give_way() -> io::Result<()> {
    // SAFETY: takes numbers. On Linux 0 is the calling thread and no other of the process.
    let now = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let nice = now.saturating_add(NICER).min(19);
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        policy: libc::SCHED_BATCH as u32,
        flags: 0,
        nice,
        priority: 0,
        runtime: TURN,
        deadline: 0,
        period: 0,
    };
    // SAFETY: the pointer is to a structure of the size that it tells, and alive until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if result == 0 {
        return Ok(());
    }
    // A sandbox may know the older call only.
    // SAFETY: takes numbers.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nice() -> libc::c_int {
        // SAFETY: takes numbers.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
    }

    #[test]
    fn the_calling_thread_gives_way_and_no_other() {
        let before = nice();
        let inside =
            std::thread::spawn(|| give_way().map(|()| nice())).join().expect("no panic").expect("allowed");
        assert_eq!(inside, (before + NICER).min(19));
        assert_eq!(nice(), before);
    }
}
