//! x
/// x
#[derive(clap::Args, Debug)]
pub struct Options {}
/// x
/// # Errors
pub fn run(_: &Options) -> anyhow::Result<u8> {
    Ok(0)
}
