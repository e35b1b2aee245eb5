//! A file system of a few MiB, which can be full without hurting anybody.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// A mounted file system in memory. It goes away with this value.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts one, as root or by sudo.
    ///
    /// # Errors
    /// It may not be mounted.
    pub fn mount(mib: u32) -> Result<SmallDisk> {
        let folder = tempfile::tempdir()?;
        let size = format!("size={mib}m,mode=0777");
        let mut mount = privileged("mount");
        let output = mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        let output = output.context("start mount")?;
        ensure!(
            output.status.success(),
            "a small file system is mounted as root or by sudo: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(SmallDisk { folder })
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all the space that is left, and returns the file to remove to have it back.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn fill(&self) -> Result<PathBuf> {
        let path = self.path().join("ballast");
        let mut file = std::fs::File::create(&path)?;
        let block = vec![1; 64 * 1024];
        while file.write_all(&block).is_ok() {}
        Ok(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that a failed test left behind may still hold a file.
        let _ = privileged("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}

fn privileged(program: &str) -> Command {
    if std::fs::metadata("/proc/self").is_ok_and(|us| us.uid() == 0) {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}
