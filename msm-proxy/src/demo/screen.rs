//! Standard output, for people or for programs.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::args::DemoArgs;
use super::hop::Hop;
use super::picture::{Picture, wrap};
use super::protection::Totals;
use super::report::Second;

/// A link that hands packets over so much later than it should is not what was asked for.
const LATE: Duration = Duration::from_millis(5);

/// A second for programs.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    second: &'a Second,
    #[serde(flatten)]
    totals: Totals,
    plan: Vec<String>,
    hop: Option<Value>,
    link: Option<Value>,
}

/// Shows to people what a [`Picture`] makes of it, or to programs all there is.
pub(crate) struct Screen {
    out: io::Stdout,
    /// `None`: for programs.
    picture: Option<Picture>,
    link: String,
    latency: Duration,
    epoch: u32,
}

impl Screen {
    pub(crate) fn new(args: &DemoArgs) -> Self {
        let out = io::stdout();
        let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let link = if args.link.is_plain() { "encrypted mesh hop".to_owned() } else { args.link.describe() };
        let picture = (!args.json).then(|| Picture::new(colour));
        Self { out, picture, link, latency: args.latency, epoch: 0 }
    }

    pub(crate) fn introduce(&mut self) -> io::Result<()> {
        if self.picture.is_some() {
            writeln!(self.out, "source ─► studio ══ {} ══► edge ─► reader\n", self.link)?;
        }
        Ok(())
    }

    pub(crate) fn begin(&mut self, hop: Option<&Hop>, url: &str) -> io::Result<()> {
        let (Some(picture), Some(hop)) = (&self.picture, hop) else { return Ok(()) };
        self.epoch = hop.epoch();
        write!(self.out, "{}", hop.describe())?;
        match self.latency.as_millis() {
            0 => writeln!(self.out, "  budget  none: what is lost is lost\n")?,
            budget => writeln!(self.out, "  budget  {budget} ms for what is lost to come all the same\n")?,
        }
        writeln!(self.out, "Watch it yourself:   ffplay {url}   or   vlc {url}\nCtrl-C ends.\n")?;
        write!(self.out, "{}", picture.head())?;
        Ok(())
    }

    pub(crate) fn show(&mut self, second: &Second, hop: Option<&Hop>) -> io::Result<()> {
        let totals = hop.map(Hop::totals).unwrap_or_default();
        match &mut self.picture {
            Some(picture) => {
                write!(self.out, "{}", picture.plans(hop.map(Hop::plans).unwrap_or_default()))?;
                write!(self.out, "{}", picture.line(second, &totals))?;
                let late = hop.map(Hop::late).unwrap_or_default();
                if picture.missed() && late >= LATE {
                    writeln!(
                        self.out,
                        "     this machine was busy: the link was late by {} ms",
                        late.as_millis()
                    )?;
                }
                let epoch = hop.map_or(self.epoch, Hop::epoch);
                if epoch != self.epoch {
                    self.epoch = epoch;
                    writeln!(self.out, "     new certificates: key epoch {epoch}")?;
                }
            }
            None => {
                let line = Line {
                    second,
                    totals,
                    plan: hop.map(Hop::plans).unwrap_or_default(),
                    hop: hop.map(Hop::json),
                    link: hop.and_then(Hop::link),
                };
                writeln!(self.out, "{}", serde_json::to_string(&line)?)?;
            }
        }
        self.out.flush()?;
        Ok(())
    }

    pub(crate) fn end(&mut self) -> io::Result<()> {
        if let Some(picture) = &self.picture {
            writeln!(self.out, "\n{}", wrap(&picture.sum()))?;
        }
        Ok(())
    }
}
