//! Which models at a server are still to be asked how they render a prompt, and when.

use std::collections::BTreeMap;

/// The most looks between two questions about one model: at the default pace of 5 seconds, five minutes.
const FARTHEST: u32 = 64;

/// Models by their names at a server. Time is counted in looks at its list.
#[derive(Debug, Default)]
pub struct Due(BTreeMap<String, Turn>);

#[derive(Debug, Clone, Copy, Default)]
struct Turn {
    /// Looks to let pass.
    pause: u32,
    /// How often nothing was heard.
    misses: u32,
}

impl Due {
    /// True when nothing is left to ask.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// To be asked about at the next look.
    pub fn add(&mut self, model: &str) {
        self.0.insert(model.to_owned(), Turn::default());
    }

    /// Forgets models that are there no more.
    pub fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        self.0.retain(|model, _| is_there(model));
    }

    /// Those whose turn it is at this look; first those that were missed least, so that one that never answers keeps nobody
    /// else from being asked.
    pub fn at_this_look(&mut self) -> Vec<String> {
        let mut turns: Vec<(u32, &String)> = Vec::new();
        for (model, turn) in &mut self.0 {
            match turn.pause.checked_sub(1) {
                Some(left) => turn.pause = left,
                None => turns.push((turn.misses, model)),
            }
        }
        turns.sort();
        turns.into_iter().map(|(_, model)| model.clone()).collect()
    }

    /// Its question was answered.
    pub fn answered(&mut self, model: &str) {
        self.0.remove(model);
    }

    /// Nothing was heard: it is asked again one look later, then two, four and so on. True the first time.
    pub fn missed(&mut self, model: &str) -> bool {
        let Some(turn) = self.0.get_mut(model) else {
            return false;
        };
        turn.pause = 2_u32.saturating_pow(turn.misses).min(FARTHEST) - 1;
        turn.misses += 1;
        turn.misses == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_is_not_heard_of_is_asked_about_less_and_less_but_for_ever() {
        let mut due = Due::default();
        due.add("m");
        let mut asked = Vec::new();
        for look in 0..400 {
            if !due.at_this_look().is_empty() {
                asked.push(look);
                assert_eq!(due.missed("m"), look == 0);
            }
        }
        assert_eq!(asked, [0, 1, 3, 7, 15, 31, 63, 127, 191, 255, 319, 383]);
        due.answered("m");
        assert!(due.is_empty());
    }

    #[test]
    fn whoever_was_missed_least_is_asked_first() {
        let mut due = Due::default();
        for model in ["a", "b", "c", "gone"] {
            due.add(model);
        }
        due.keep(|model| model != "gone");
        due.missed("a");
        assert_eq!(due.at_this_look(), ["b", "c", "a"]);
    }
}
