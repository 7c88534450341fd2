//! What the demo shows to people: a line a second, in which each lost packet has a sign for what became of it. 80 columns.

use std::fmt::Write as _;

use super::protection::Totals;
use super::report::Second;

/// Columns of a terminal that may be counted on.
const WIDTH: usize = 80;
/// Signs that fit in a line.
const SIGNS: usize = 26;
/// What the tracks are, in the order of the clip's description.
const TRACKS: [&str; 2] = ["video", "audio"];

/// What becomes of a packet that the link lost: its sign, its colour by SGR parameters, and words.
const FATES: [(char, &str, &str); 4] = [
    ('✗', "1;31", "missed"),
    ('f', "32", "rebuilt by FEC"),
    ('n', "36", "asked for again"),
    ('p', "34", "by another path"),
];

/// Shows second after second.
pub(crate) struct Picture {
    colour: bool,
    packets: u64,
    lost: u64,
    /// In the order of [`FATES`].
    settled: [u64; 4],
    plans: Vec<String>,
    missed: bool,
}

impl Picture {
    /// `colour`: whether a terminal shows it.
    pub(crate) fn new(colour: bool) -> Self {
        Self { colour, packets: 0, lost: 0, settled: [0; 4], plans: Vec::new(), missed: false }
    }

    /// What stands above the lines.
    pub(crate) fn head(&self) -> String {
        let mut text = String::from("    ");
        for (sign, colour, words) in FATES {
            let _ = write!(text, "  {} {words}", self.paint(colour, &sign.to_string()));
        }
        let head =
            row("s", "packets", "lost", "on the wire: what became", "missed", "overhead", "delay", "p99");
        text + "\n\n" + &head + "\n"
    }

    /// A second.
    pub(crate) fn line(&mut self, second: &Second, totals: &Totals) -> String {
        let settled = fates(second, totals);
        let fresh: Vec<u64> =
            settled.iter().zip(self.settled).map(|(now, before)| now.saturating_sub(before)).collect();
        let line = row(
            &second.second.to_string(),
            &second.packets.saturating_sub(self.packets).to_string(),
            &totals.lost.saturating_sub(self.lost).to_string(),
            &self.signs(&fresh),
            &fresh.first().copied().unwrap_or_default().to_string(),
            &format!("{:.1} %", totals.overhead * 100.0),
            &format!("{:.1}", second.latency_ms),
            &format!("{:.1}", second.latency_p99_ms),
        );
        self.missed = fresh.first().is_some_and(|missed| *missed > 0);
        (self.packets, self.lost, self.settled) = (second.packets, totals.lost, settled);
        line + "\n"
    }

    /// A sign for each packet, those that were missed first, so that none of them is left out; filled up with blanks.
    fn signs(&self, counts: &[u64]) -> String {
        let mut text = String::new();
        let mut room = SIGNS;
        let all: u64 = counts.iter().sum();
        let fits = usize::try_from(all).is_ok_and(|all| all <= SIGNS);
        let mut left = if fits { SIGNS } else { SIGNS - 1 };
        for ((sign, colour, _), count) in FATES.iter().zip(counts) {
            let count = usize::try_from(*count).unwrap_or(usize::MAX).min(left);
            left -= count;
            room -= count;
            if count > 0 {
                text += &self.paint(colour, &sign.to_string().repeat(count));
            }
        }
        if !fits {
            text.push('…');
            room -= 1;
        }
        text + &" ".repeat(room)
    }

    /// The plans of the tracks that are not what they were.
    pub(crate) fn plans(&mut self, plans: Vec<String>) -> String {
        let mut text = String::new();
        for (number, plan) in plans.iter().enumerate() {
            if self.plans.get(number).map(|before| decision(before)) != Some(decision(plan)) {
                let track = TRACKS.get(number).copied().unwrap_or("track");
                text += &wrap(&format!("{track}: {plan}"));
            }
        }
        self.plans = plans;
        text
    }

    /// Whether packets were missed in the second that was shown last.
    pub(crate) fn missed(&self) -> bool {
        self.missed
    }

    /// Everything until now.
    pub(crate) fn sum(&self) -> String {
        let [missed, fec, nack, path] = self.settled;
        let lost = self.lost;
        let mut text = format!("{} packets, {lost} lost on the wire, {missed} missed", self.packets);
        let means = [(fec, "rebuilt by FEC"), (nack, "asked for again"), (path, "by another path")];
        let mut joint = ": ";
        for (count, words) in means.iter().filter(|(count, _)| *count > 0) {
            let _ = write!(text, "{joint}{count} {words}");
            joint = ", ";
        }
        text
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// What was missed, and brought back by each means, since the start.
fn fates(second: &Second, totals: &Totals) -> [u64; 4] {
    [second.unrecovered, totals.recovered_by_fec, totals.recovered_by_nack, totals.recovered_by_path]
}

#[allow(clippy::too_many_arguments, reason = "a table has columns")]
fn row(
    second: &str,
    packets: &str,
    lost: &str,
    signs: &str,
    missed: &str,
    overhead: &str,
    delay: &str,
    p99: &str,
) -> String {
    format!("{second:>4} {packets:>8} {lost:>5} {signs:<26} {missed:>7} {overhead:>8} {delay:>6} {p99:>6}")
}

/// What of a plan was decided: measurements stand before it, and what is expected after it, and both change all the time.
fn decision(plan: &str) -> &str {
    let (_, rest) = plan.split_once(": ").unwrap_or(("", plan));
    rest.rsplit_once(": ").map_or(rest, |(decided, _)| decided)
}

/// Breaks a line between words; what follows is set in as the lines' text is.
pub(crate) fn wrap(text: &str) -> String {
    const INDENT: &str = "     ";
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column == 0 || column + 1 + length > WIDTH {
            let more = if column == 0 { "" } else { "\n  " };
            out = out + more + INDENT + word;
            column = more.len().saturating_sub(1) + INDENT.len() + length;
        } else {
            out = out + " " + word;
            column += 1 + length;
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widest(text: &str) -> usize {
        text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
    }

    fn second(number: u64, packets: u64, unrecovered: u64) -> Second {
        Second {
            second: number,
            packets,
            unrecovered,
            latency_ms: 15.24,
            latency_p99_ms: 147.9,
            ..Second::default()
        }
    }

    #[test]
    fn each_lost_packet_has_a_sign() {
        let mut picture = Picture::new(false);
        let totals = Totals {
            lost: 6,
            recovered_by_fec: 2,
            recovered_by_nack: 3,
            recovered_by_path: 1,
            overhead: 0.1234,
        };
        let line = picture.line(&second(1, 80, 0), &totals);
        assert_eq!(line, "   1       80     6 ffnnnp                           0   12.3 %   15.2  147.9\n");
        let totals = Totals { lost: 9, recovered_by_nack: 5, ..totals };
        let line = picture.line(&second(2, 160, 1), &totals);
        assert!(line.starts_with("   2       80     3 ✗nn   "), "{line}");
        assert_eq!(widest(&picture.head()).max(widest(&line)), widest(&picture.head()));
        assert_eq!(
            picture.sum(),
            "160 packets, 9 lost on the wire, 1 missed: 2 rebuilt by FEC, 5 asked for again, 1 by another path"
        );
    }

    #[test]
    fn a_line_is_as_wide_as_a_terminal_whatever_is_lost() {
        let mut picture = Picture::new(false);
        let totals =
            Totals { lost: 99_999, recovered_by_fec: 50_000, recovered_by_nack: 49_000, ..Totals::default() };
        let line = picture.line(&second(3600, 500_000, 3), &totals);
        assert!(widest(&line) <= WIDTH, "{line}");
        assert!(line.contains("✗✗✗ffffffffffffffffffffff… "), "{line}");
        assert!(widest(&picture.head()) <= WIDTH, "{}", picture.head());
        let mut painted = Picture::new(true);
        let line =
            painted.line(&second(1, 80, 1), &Totals { lost: 2, recovered_by_fec: 1, ..Totals::default() });
        assert!(line.contains("\u{1b}[1;31m✗\u{1b}[0m\u{1b}[32mf\u{1b}[0m  "), "{line:?}");
    }

    #[test]
    fn a_plan_is_shown_when_it_changes() {
        let mut picture = Picture::new(false);
        let plan = "loss 10.00 % in runs of 1.0, round trip 32 ms, budget 100 ms: FEC 10+2 over 3 bursts, \
                    2 rounds of retransmission with 1/2 copies: 3.0e-6 lost at 31.0 % overhead";
        let text = picture.plans(vec![plan.into(), "no FEC".into()]);
        assert!(
            text.starts_with("     video: loss 10.00 %") && text.ends_with("\n     audio: no FEC\n"),
            "{text}"
        );
        assert!(widest(&text) <= WIDTH && text.lines().count() == 4, "{text}");
        assert_eq!(picture.plans(vec![plan.into(), "no FEC".into()]), "");
        let measured = plan.replace("10.00", "9.87").replace("3.0e-6", "2.9e-6");
        assert_eq!(picture.plans(vec![measured, "no FEC".into()]), "");
        assert_eq!(picture.plans(vec![plan.into(), "FEC".into()]), "     audio: FEC\n");
    }
}
