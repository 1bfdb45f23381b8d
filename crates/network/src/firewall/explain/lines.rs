//! An explanation for people.

use super::Explanation;
use std::net::SocketAddr;

impl Explanation {
    /// For people, a line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut endpoint = None;
        for way in &self.ways {
            if endpoint != Some(way.endpoint) {
                endpoint = Some(way.endpoint);
                let place = SocketAddr::new(way.endpoint, self.port);
                lines.push(format!("{place}/{}", self.protocol.as_str()));
            }
            let at: Vec<String> = way.at.iter().map(SocketAddr::to_string).collect();
            let at = match at.is_empty() {
                true => String::new(),
                false => format!(", at {}", at.join(" and ")),
            };
            lines.push(format!(
                "  from {}: {}{at}: {} [{}]",
                way.from, way.reachable, way.why, way.rule
            ));
        }
        lines.extend(
            self.remarks
                .iter()
                .map(|remark| format!("  note: {remark}")),
        );
        lines
    }
}
