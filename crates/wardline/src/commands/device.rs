//! `wardline login --device`: a code is typed in a browser on any device, and a token comes here.

use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::administer::{ask, show_token, unexpected};
use crate::admin::{DeviceView, Refused, Reply, Request};
use crate::cli::Login;
use crate::commands::configuration;
use crate::control;

/// Asks for a code, tells it, and waits until somebody signed in.
pub(super) fn login(file: &Path, arguments: &Login) -> anyhow::Result<ExitCode> {
    let provider = arguments.device.clone().filter(|name| !name.is_empty());
    let mut code = None;
    ask(file, Request::DeviceBegin { provider }, |reply| {
        let Reply::Device(device) = reply else { return unexpected() };
        tell(&device);
        code = Some(device);
        Ok(())
    })?;
    let Some(code) = code else { bail!("there is no code") };
    let until = Instant::now() + Duration::from_secs(code.expires_s);
    while Instant::now() < until {
        sleep(Duration::from_secs(code.pause_s));
        let request = Request::DeviceAsk { handle: code.handle.clone(), life_s: arguments.life_s };
        match control::ask(configuration(file)?, request)? {
            Ok(Reply::Nothing {}) => {}
            Ok(Reply::Token(token)) => {
                show_token(&token, arguments)?;
                return Ok(ExitCode::SUCCESS);
            }
            Ok(_) => unexpected()?,
            Err(refusal) => return Err(Refused(refusal).into()),
        }
    }
    bail!("nobody signed in in time; ask for another code")
}

/// Says what to do, beside the output, which may go into a file.
fn tell(code: &DeviceView) {
    eprintln!("open {} and type {}", code.address, code.user_code);
    if let Some(address) = &code.address_with_code {
        eprintln!("or open {address}");
    }
    eprintln!("check that the page shows this same code before you go on");
}
