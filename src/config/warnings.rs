//! Settings that are valid and probably not what the operator wants.

use super::{Config, Problem};

/// A decision that takes this long leaves too little of Envoy's default `message_timeout` of 200 ms.
const NEAR_MESSAGE_TIMEOUT_MS: u64 = 150;

impl Config {
    /// A message if the configuration names nothing to serve.
    pub fn nothing_to_serve(&self) -> Option<&'static str> {
        let is_empty =
            self.models.is_empty() && self.discover.is_empty() && self.ext_proc.is_none();
        is_empty.then_some(
            "there is nothing to serve: give --upstream http://HOST:PORT, or models in a --config file (see \
             configs/example.yaml), or ext_proc.listen behind Envoy (see configs/envoy)",
        )
    }

    /// Settings that are valid and probably not what the operator wants.
    pub fn warnings(&self) -> Vec<Problem> {
        let near =
            self.ext_proc.is_some() && self.classifier.deadline_ms >= NEAR_MESSAGE_TIMEOUT_MS;
        let near = near.then(|| {
            let message = "is near Envoy's default message_timeout of 200 ms, after which Envoy fails the request; keep it \
                           under 150, or raise message_timeout in Envoy's configuration";
            Problem::new("classifier.deadline_ms", message)
        });
        let routing = &self.routing;
        let is_score = |score: f64| (0.0..=1.0).contains(&score);
        let one_way = !is_score(routing.threshold + routing.switch_margin)
            || !is_score(routing.threshold - routing.switch_margin);
        let one_way = one_way.then(|| {
            let message = "reaches beyond 0 or 1 from routing.threshold: no score can change a conversation's mode in that \
                           direction";
            Problem::new("routing.switch_margin", message)
        });
        near.into_iter()
            .chain(one_way)
            .chain(self.unknown_key_models())
            .collect()
    }

    /// Names in `auth.keys[].models` that are no model and no alias. With `discover`, or without any model and alias, every name
    /// may exist, so there is no warning.
    fn unknown_key_models(&self) -> Vec<Problem> {
        if !self.discover.is_empty() || (self.models.is_empty() && self.aliases.is_empty()) {
            return Vec::new();
        }
        let is_known =
            |name: &str| self.models.contains_key(name) || self.aliases.contains_key(name);
        let keys = self.auth.keys.iter().enumerate();
        keys.flat_map(|(index, key)| {
            let names = key.models.iter().flatten().enumerate();
            names
                .filter(|(_, name)| !is_known(name))
                .map(move |(name_index, name)| {
                    let path = format!("auth.keys[{index}].models[{name_index}]");
                    Problem::new(path, format!("`{name}` is neither a model nor an alias"))
                })
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_near_envoys_message_timeout_is_a_warning() {
        let warned = |yaml: &str| !Config::from_yaml(yaml).unwrap().warnings().is_empty();
        assert!(warned(
            "{ext_proc: {listen: '127.0.0.1:1'}, classifier: {deadline_ms: 150}}"
        ));
        assert!(!warned(
            "{ext_proc: {listen: '127.0.0.1:1'}, classifier: {deadline_ms: 149}}"
        ));
        assert!(!warned("{classifier: {deadline_ms: 150}}"));
    }

    #[test]
    fn a_key_for_an_unknown_model_is_a_warning() {
        let warned = |more: &str| {
            let keys = "auth: {keys: [{name: a, key: 'file:x', models: [m, auto, mm]}]}";
            let config = Config::from_yaml(&format!("{{{keys}, {more}}}")).unwrap();
            config
                .warnings()
                .into_iter()
                .map(|problem| problem.path)
                .collect::<Vec<_>>()
        };
        let models = "models: {m: {}}, aliases: {auto: {reasoning: m, direct: m, unchanged: m}}";
        assert_eq!(warned(models), ["auth.keys[0].models[2]"]);
        assert!(warned(&format!("{models}, discover: [{{url: 'http://h'}}]")).is_empty());
        assert!(
            warned("ext_proc: {listen: '127.0.0.1:1'}, classifier: {deadline_ms: 1}").is_empty()
        );
    }

    #[test]
    fn a_margin_beyond_all_scores_is_a_warning() {
        let warned = |threshold: f64, margin: f64| {
            let yaml = format!("{{routing: {{threshold: {threshold}, switch_margin: {margin}}}}}");
            !Config::from_yaml(&yaml).unwrap().warnings().is_empty()
        };
        assert!(warned(0.95, 0.1) && warned(0.05, 0.1));
        assert!(!warned(0.9, 0.1) && !warned(0.1, 0.1) && !warned(0.5, 0.5));
    }
}
