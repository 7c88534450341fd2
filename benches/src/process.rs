//! A child process and what it costs.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Result;

/// A relay's process; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `command` with a pipe for stdin and stdout, on one CPU if `cpu` says which.
    ///
    /// # Errors
    ///
    /// It can't be started.
    pub fn spawn(mut command: Command, cpu: Option<usize>) -> Result<Self> {
        if let Some(cpu) = cpu {
            let mut pinned = Command::new("taskset");
            pinned.args(["-c", &cpu.to_string()]).arg(command.get_program()).args(command.get_args());
            command = pinned;
        }
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{:?}: {error}", command.get_program()))?;
        Ok(Self { child })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Halts it where it is, so that what is sent to it waits in its sockets' queues and wakes nobody.
    ///
    /// # Errors
    ///
    /// It is gone.
    pub fn halt(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    ///
    /// It is gone.
    pub fn go_on(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.id())?), signal)?)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Reads the next line that the process prints.
    ///
    /// # Errors
    ///
    /// It ended instead.
    pub fn line(&mut self) -> Result<String> {
        let stdout = self.child.stdout.as_mut().ok_or("stdout is taken")?;
        let mut line = String::new();
        // One line is all that a relay prints, so nothing is lost with the reader's buffer.
        BufReader::new(stdout.by_ref()).read_line(&mut line)?;
        if line.is_empty() {
            return Err("the relay ended before it was ready".into());
        }
        Ok(line.trim().to_owned())
    }

    /// User and system time of all threads that live. Exact for threads that sleep.
    ///
    /// # Errors
    ///
    /// The process is gone, or the kernel has no `schedstat`.
    pub fn cpu_time(&self) -> Result<Duration> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let nanoseconds = text.split_whitespace().next().ok_or("empty schedstat")?;
            total += nanoseconds.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(total))
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }

    /// Begins to count the system calls of all threads, by `strace`.
    ///
    /// # Errors
    ///
    /// There is no `strace`, or it may not attach.
    pub fn trace(&self) -> Result<Trace> {
        let summary = std::env::temp_dir().join(format!("msm-bench-strace-{}", self.id()));
        let mut strace = Command::new("strace")
            .args(["-f", "-c", "-o"])
            .arg(&summary)
            .args(["-p", &self.id().to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("strace: {error}"))?;
        // "strace: Process N attached" is its first line.
        let mut attached = String::new();
        if let Some(stderr) = strace.stderr.as_mut() {
            BufReader::new(stderr).read_line(&mut attached)?;
        }
        let trace = Trace { strace: Process { child: strace }, summary };
        if !attached.contains("attached") {
            return Err(attached.trim().to_owned().into());
        }
        // All threads are attached a moment later.
        std::thread::sleep(Duration::from_millis(200));
        Ok(trace)
    }
}

/// A count of system calls that is under way.
#[derive(Debug)]
pub struct Trace {
    strace: Process,
    summary: PathBuf,
}

impl Trace {
    /// Ends it; returns how many calls there were.
    ///
    /// # Errors
    ///
    /// `strace` printed no sum.
    pub fn finish(mut self) -> Result<u64> {
        Command::new("kill").args(["-INT", &self.strace.id().to_string()]).status()?;
        self.strace.child.wait()?;
        let text = fs::read_to_string(&self.summary)?;
        fs::remove_file(&self.summary)?;
        let total =
            text.lines().find(|line| line.trim_end().ends_with("total")).ok_or("no total from strace")?;
        // "100.00    0.001    3    412    2 total": share, seconds, µs a call, calls, errors.
        let calls = total.split_whitespace().nth(3).ok_or("no count from strace")?;
        Ok(calls.parse()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Which CPUs the bench process and the relay get: one each, if there are two and `taskset` exists.
pub fn cpus() -> (Option<usize>, Option<usize>) {
    let several = std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1);
    let taskset = Command::new("taskset").arg("-V").output().is_ok_and(|output| output.status.success());
    if several && taskset { (Some(0), Some(1)) } else { (None, None) }
}

/// Keeps this process on one CPU.
pub fn pin_self(cpu: Option<usize>) -> Result<()> {
    if let Some(cpu) = cpu {
        Command::new("taskset")
            .args(["-pc", &cpu.to_string(), &std::process::id().to_string()])
            .stdout(Stdio::null())
            .status()?;
    }
    Ok(())
}

/// Lets this process use all CPUs again, after [`pin_self`] with the same `cpu`.
pub fn release_self(cpu: Option<usize>) -> Result<()> {
    if cpu.is_some() {
        let online = fs::read_to_string("/sys/devices/system/cpu/online")?;
        Command::new("taskset")
            .args(["-pc", online.trim(), &std::process::id().to_string()])
            .stdout(Stdio::null())
            .status()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_child_has_cpu_time_and_memory() {
        let mut command = Command::new("sh");
        command.args(["-c", "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; echo ready; read line"]);
        let mut process = Process::spawn(command, None).unwrap();
        assert_eq!(process.line().unwrap(), "ready");
        std::thread::sleep(Duration::from_millis(20));
        assert!(process.is_running());
        assert!(process.cpu_time().unwrap() > Duration::from_millis(1));
        assert!(process.resident().unwrap() > 100_000);
    }
}
