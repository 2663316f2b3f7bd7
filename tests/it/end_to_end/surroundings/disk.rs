//! A small file system that only the daemon under test sees; it can be filled, and it can break.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::process::{Watch, modelwatch};
use crate::servers;

/// A mount in a namespace of its own, for as long as this lives.
pub(super) struct Disk {
    /// Waits for its standard input to end, and the namespace with it.
    holder: Child,
    at: PathBuf,
    real_root: bool,
}

impl Disk {
    /// In memory, with the options of tmpfs. `None` where user namespaces are forbidden.
    #[track_caller]
    pub(super) fn in_memory(at: &Path, options: &str) -> Option<Disk> {
        Disk::mount(at, false, &format!("mount -t tmpfs -o {options} tmpfs \"$1\""))
    }

    /// A real ext4, which can break. `None` where we are not root.
    #[track_caller]
    pub(super) fn real(at: &Path) -> Option<Disk> {
        let image = at.with_extension("image");
        File::create(&image).unwrap().set_len(16 << 20).unwrap();
        let mount = format!("mkfs.ext4 -q '{0}' && mount -o loop '{0}' \"$1\"", image.display());
        Disk::mount(at, true, &mount)
    }

    fn mount(at: &Path, real_root: bool, mount: &str) -> Option<Disk> {
        fs::create_dir_all(at).unwrap();
        let script = format!("{mount} && echo mounted && cat");
        let mut command = servers::namespace(real_root)?;
        command.args(["sh", "-c", &script, "sh"]).arg(at);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "mounted\n");
        Some(Disk { holder, at: at.to_owned(), real_root })
    }

    fn enter(&self) -> Command {
        let mut command = servers::program("nsenter").expect("what comes with unshare");
        command.args(["-t", &self.holder.id().to_string(), "-m"]);
        if !self.real_root {
            command.args(["-U", "--preserve-credentials"]);
        }
        command
    }

    /// Runs a line of shell where the file system is seen, with its mount point as `$1`.
    #[track_caller]
    pub(super) fn shell(&self, line: &str) {
        let done = self.enter().args(["sh", "-c", line, "sh"]).arg(&self.at).output().unwrap();
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// The daemon, ready to be spawned, on this file system.
    pub(super) fn daemon(&self, config: &Path) -> Command {
        let run = modelwatch(&["run"]);
        let mut command = self.enter();
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").stdin(Stdio::null());
        command.arg(run.get_program()).arg("run").arg(config);
        command
    }

    /// Starts the daemon and waits until its pages are served.
    #[track_caller]
    pub(super) fn start(&self, config: &Path) -> Watch {
        let watch = Watch::spawn(&mut self.daemon(config), config);
        watch.says("/api/v1/status");
        watch
    }

    /// The mount as it is seen from here.
    pub(super) fn seen_from_outside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.at.strip_prefix("/").unwrap())
    }

    /// Leaves no room at all.
    pub(super) fn fill(&self) {
        let mut filler = File::create(self.seen_from_outside().join("filler")).unwrap();
        for size in [1 << 16, 1 << 10, 1] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Makes room again.
    pub(super) fn free(&self) {
        fs::remove_file(self.seen_from_outside().join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        drop(self.holder.wait());
    }
}
