//! The sandbox of a process that has read its configuration: from then on it opens no other file than it named, starts no
//! program, and makes none of the system calls that a time daemon has no use for. Linux has both halves, Landlock for files
//! and seccomp for calls; elsewhere there is no sandbox.
//!
//! What is entered holds for the calling thread and every thread that it starts, so it has to be entered before there are
//! others. Nothing leaves it.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// What the process may touch once it is inside.
///
/// ```no_run
/// let entered = chronotick_os::Sandbox::new().read("/etc/hosts").write("/var/lib/chronotick").enter()?;
/// println!("{entered}");
/// assert!(std::fs::read("/root/.ssh/id_ed25519").is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Sandbox {
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
    sets_clock: bool,
    captures_pulses: bool,
}

/// What the kernel gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    /// The version of Landlock's interface that keeps files away; why none does.
    pub files: Result<i32, String>,
    /// Whether programs and unneeded system calls are refused; why not.
    pub calls: Result<(), String>,
}

impl Sandbox {
    /// Nothing may be touched yet.
    pub fn new() -> Sandbox {
        Sandbox::default()
    }

    /// The file, or everything below the folder, may be read. What does not exist now is left out.
    #[must_use]
    pub fn read(mut self, path: impl Into<PathBuf>) -> Sandbox {
        self.read.push(path.into());
        self
    }

    /// The file or device may be read and written; below a folder files, folders and sockets may be made and removed, too.
    /// What does not exist now is left out.
    #[must_use]
    pub fn write(mut self, path: impl Into<PathBuf>) -> Sandbox {
        self.write.push(path.into());
        self
    }

    /// The system clock may be set. Where it may not, the right to do so (`CAP_SYS_TIME`) is given up: the call that reads what
    /// the kernel says of its clock (`adjtimex(2)`) could set it as well.
    #[must_use]
    pub fn sets_clock(mut self, may: bool) -> Sandbox {
        self.sets_clock = may;
        self
    }

    /// The kernel may be asked to stamp pulses (`PPS_SETPARAMS`), which takes the same right: it is kept.
    #[must_use]
    pub fn captures_pulses(mut self, may: bool) -> Sandbox {
        self.captures_pulses = may;
        self
    }

    /// Enters the sandbox as far as the kernel has one.
    ///
    /// # Errors
    /// If the kernel has the means and refuses them for another reason than that it is too old or forbids them.
    #[cfg(target_os = "linux")]
    pub fn enter(&self) -> io::Result<Entered> {
        let files = linux::keep_files_away(self).map_err(io::Error::other)?;
        let kept = self.sets_clock || self.captures_pulses;
        let given_up = if kept { Ok(()) } else { linux::give_up_the_clock() };
        let calls = linux::refuse_calls(self.sets_clock);
        let still = |e| format!("the right to set the clock cannot be given up: {e}");
        Ok(Entered { files, calls: calls.and(given_up.map_err(still)) })
    }

    /// There is none on this system.
    ///
    /// # Errors
    /// None.
    #[cfg(not(target_os = "linux"))]
    pub fn enter(&self) -> io::Result<Entered> {
        let none = || "this system has no such means that are known here".to_owned();
        Ok(Entered { files: Err(none()), calls: Err(none()) })
    }
}

impl Entered {
    /// Whether both halves hold.
    pub fn is_whole(&self) -> bool {
        self.files.is_ok() && self.calls.is_ok()
    }
}

impl fmt::Display for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.files {
            Ok(version) => write!(f, "no files but those configured (Landlock {version}), ")?,
            Err(why) => write!(f, "files are not kept away ({why}), ")?,
        }
        match &self.calls {
            Ok(()) => f.write_str("no programs and no needless system calls (seccomp)"),
            Err(why) => write!(f, "system calls are not refused ({why})"),
        }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use super::Sandbox;
    use landlock::{
        ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, LandlockStatus, Ruleset, RulesetAttr,
        RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
    };
    use libc::{c_int, c_long, c_ulong};
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule,
    };
    use std::collections::BTreeMap;
    use std::io;

    /// The newest interface whose rights are handled; what an older kernel does not know is left out.
    const KNOWN: ABI = ABI::V6;

    /// The version of the interface that holds; why none does.
    pub(super) fn keep_files_away(sandbox: &Sandbox) -> Result<Result<i32, String>, RulesetError> {
        let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
        // No devices, links or pipes are made, and nothing is run.
        let write = read
            | AccessFs::WriteFile
            | AccessFs::Truncate
            | AccessFs::RemoveFile
            | AccessFs::RemoveDir
            | AccessFs::MakeReg
            | AccessFs::MakeDir
            | AccessFs::MakeSock
            | AccessFs::Refer
            | AccessFs::IoctlDev;
        let status = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(KNOWN))?
            .scope(Scope::Signal)?
            .create()?
            .add_rules(path_beneath_rules(&sandbox.read, read))?
            .add_rules(path_beneath_rules(&sandbox.write, write))?
            .restrict_self()?;
        Ok(match (status.ruleset, status.landlock) {
            (RulesetStatus::NotEnforced, LandlockStatus::NotImplemented) => {
                Err("the kernel has no Landlock: it came with Linux 5.13".into())
            }
            (RulesetStatus::NotEnforced, _) => {
                Err("the kernel was started without Landlock: add it to lsm=".into())
            }
            (_, LandlockStatus::Available { effective_abi, kernel_abi }) => {
                Ok(kernel_abi.unwrap_or(effective_abi as i32))
            }
            (_, other) => Err(format!("{other:?}")),
        })
    }

    /// `CAP_SYS_TIME` of `linux/capability.h`, which the C library does not have.
    const CAP_SYS_TIME: c_ulong = 25;

    /// Gives up the right to set the clock, where this process has it.
    pub(super) fn give_up_the_clock() -> io::Result<()> {
        /// `__user_cap_header_struct`.
        #[repr(C)]
        struct Header {
            version: u32,
            pid: c_int,
        }
        /// `__user_cap_data_struct`: capabilities 0 to 31 in the first, and the others in the second.
        #[repr(C)]
        #[derive(Clone, Copy, Default)]
        struct Sets {
            effective: u32,
            permitted: u32,
            inheritable: u32,
        }
        // Of the third version; process 0 is this one.
        let mut header = Header { version: 0x2008_0522, pid: 0 };
        let mut sets = [Sets::default(); 2];
        let done = |rc: c_long| if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
        // SAFETY: the kernel fills both structures of this version, which outlive the call.
        done(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) })?;
        let clock = 1 << CAP_SYS_TIME;
        if (sets[0].permitted | sets[0].inheritable) & clock == 0 {
            return Ok(());
        }
        // Without the right to change it this set stays, which matters to programs that are begun only: there are none.
        // SAFETY: no pointers.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_SYS_TIME, 0, 0, 0) };
        let others = !clock;
        // What is neither permitted nor inheritable is not ambient either.
        sets[0].effective &= others;
        sets[0].permitted &= others;
        sets[0].inheritable &= others;
        // SAFETY: as above; the kernel only reads the sets.
        done(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) })
    }

    /// What fails as if the user were not allowed to: somebody who tries is told, and a library that probes goes on.
    const REFUSED: &[c_long] = &[
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_chroot,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_mknodat,
        libc::SYS_open_by_handle_at,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_fanotify_init,
        libc::SYS_personality,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
        libc::SYS_kcmp,
        libc::SYS_syslog,
        libc::SYS_acct,
        libc::SYS_quotactl,
        libc::SYS_sethostname,
        libc::SYS_setdomainname,
        libc::SYS_vhangup,
    ];

    /// Nothing in this program makes these: whoever does has taken it over, and the process ends.
    const FATAL: &[c_long] = &[
        libc::SYS_ptrace,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_move_mount,
        libc::SYS_open_tree,
        libc::SYS_fsopen,
        libc::SYS_fsmount,
        libc::SYS_mount_setattr,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_kexec_load,
        libc::SYS_bpf,
        libc::SYS_reboot,
        libc::SYS_swapon,
        libc::SYS_swapoff,
    ];

    const SETS_CLOCK: &[c_long] = &[libc::SYS_clock_settime, libc::SYS_settimeofday];

    /// Namespaces that `clone` could make.
    const NAMESPACES: [c_int; 7] = [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWCGROUP,
    ];

    /// Why calls are not refused, in words.
    pub(super) fn refuse_calls(sets_clock: bool) -> Result<(), String> {
        let more = if sets_clock { &[] } else { SETS_CLOCK };
        let mut refused = each(REFUSED.iter().chain(more));
        for clone in numbers(libc::SYS_clone) {
            refused.insert(clone, namespaces()?);
        }
        // Its flags are behind a pointer, which no filter follows; the C library then takes `clone`.
        let unknown = each(&[libc::SYS_clone3]);
        let programs = [
            (unknown, SeccompAction::Errno(libc::ENOSYS as u32)),
            (refused, SeccompAction::Errno(libc::EPERM as u32)),
            (each(FATAL), SeccompAction::KillProcess),
        ];
        for (rules, action) in programs {
            let program = compile(rules, action).map_err(|e| e.to_string())?;
            seccompiler::apply_filter_all_threads(&program).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

    /// Each call, whatever it is called with.
    fn each<'a>(calls: impl IntoIterator<Item = &'a c_long>) -> Rules {
        calls.into_iter().flat_map(|call| numbers(*call)).map(|number| (number, Vec::new())).collect()
    }

    /// What is added to the number of a call of the x32 interface, of which the filters do not tell.
    const X32: c_long = 0x4000_0000;

    /// The calls that have a number of their own there (`syscall_64.tbl` of the kernel).
    const OWN: [(c_long, c_long); 6] = [
        (libc::SYS_execve, 520),
        (libc::SYS_ptrace, 521),
        (libc::SYS_kexec_load, 528),
        (libc::SYS_process_vm_readv, 539),
        (libc::SYS_process_vm_writev, 540),
        (libc::SYS_execveat, 545),
    ];

    /// All numbers by which a call can be made.
    fn numbers(call: c_long) -> impl Iterator<Item = c_long> {
        let own = OWN.iter().filter(move |(usual, _)| *usual == call).map(|(_, own)| *own);
        let x32 = own.chain([call]).map(|number| X32 + number);
        [call].into_iter().chain(x32.filter(|_| cfg!(target_arch = "x86_64")))
    }

    fn namespaces() -> Result<Vec<SeccompRule>, String> {
        let rule = |flag: c_int| {
            let flag = flag as u32 as u64;
            let operator = SeccompCmpOp::MaskedEq(flag);
            SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Qword, operator, flag)?])
        };
        NAMESPACES.into_iter().map(rule).collect::<Result<_, _>>().map_err(|e| e.to_string())
    }

    fn compile(rules: Rules, action: SeccompAction) -> Result<BpfProgram, seccompiler::BackendError> {
        let here = std::env::consts::ARCH.try_into()?;
        SeccompFilter::new(rules, SeccompAction::Allow, action, here)?.try_into()
    }
}
