use super::*;

fn paths(files: &[&str]) -> Vec<PathBuf> {
    files.iter().map(PathBuf::from).collect()
}

#[test]
fn a_configuration_is_called_by_its_file_and_by_its_path_where_that_is_not_enough() {
    let called = |files: &[&str]| names(&paths(files)).unwrap();
    assert_eq!(called(&["a/before.toml", "b/after.toml"]), ["before.toml", "after.toml"]);
    assert_eq!(called(&["a/router.toml", "b/router.toml", "c.toml"]), ["a/router.toml", "b/router.toml", "c.toml"]);
    assert!(names(&paths(&["a.toml", "a.toml"])).unwrap_err().to_string().contains("twice"));
}

/// Targets both simulated upstreams; `rest` stands in the model.
fn config(rest: &str, price: &str) -> Config {
    let text = format!(
        "[auth]\nmode = \"none\"\n[[upstreams]]\nid = \"runpod-8b\"\nprovider = \"runpod\"\nbase_url = \"http://127.0.0.1:9/v1\"\n\
         model = \"m\"\ncost = {{ kind = \"tokens\", input_usd_per_million = \"{price}\", output_usd_per_million = \"{price}\" }}\n\
         [[models]]\nname = \"m\"\nstrategy = \"weighted\"\ntargets = [{{ upstream = \"runpod-8b\" }}]\n{rest}\n"
    );
    settings::parse_with(&text, "t", &|_| None, Secrets::Ignored).unwrap()
}

fn evaluated(rest: &str, price: &str) -> EvaluatedConfig {
    EvaluatedConfig { name: "t".to_owned(), model: "m".to_owned(), config: config(rest, price) }
}

#[test]
fn the_slo_is_the_configurations_where_they_agree() {
    let shipped = Providers::shipped().unwrap().slo_ttft;
    let slo = |configs: &[EvaluatedConfig]| {
        let mut providers = Providers::shipped().unwrap();
        let warning = take_slo(&mut providers, configs);
        (providers.slo_ttft, warning)
    };
    let (none, one, two) = (
        evaluated("", "0.02"),
        evaluated("slo = { ttft_ms = 700 }", "0.02"),
        evaluated("slo = { ttft_ms = 900 }", "0.02"),
    );
    assert_eq!(slo(&[]), (shipped, None));
    assert_eq!(slo(&[none, one]), (700_000_000, None));
    let (unchanged, warning) = slo(&[evaluated("slo = { ttft_ms = 700 }", "0.02"), two]);
    assert_eq!(unchanged, shipped);
    assert!(warning.unwrap().contains("different slo.ttft_ms"));
}

#[test]
fn a_price_that_is_not_the_simulated_one_is_reported_once() {
    let providers = Providers::shipped().unwrap();
    let prices = |configs: &[EvaluatedConfig]| other_prices(configs, &providers).into_iter().collect::<Vec<_>>();
    assert_eq!(prices(&[evaluated("", "0.02")]), Vec::<String>::new());
    let twice = prices(&[evaluated("", "0.03"), evaluated("", "0.03")]);
    assert_eq!(twice.len(), 1, "{twice:?}");
    assert!(twice[0].starts_with("runpod-8b has another price than the simulated runpod-8b"), "{twice:?}");
    // One that has another id is simulated by the one of its kind, whose price may well be another.
    let mut other = evaluated("", "0.03");
    other.config.upstreams[0].id = "mine".into();
    other.config.models[0].targets[0].upstream = "mine".into();
    assert!(prices(&[other])[0].starts_with("mine has another price than the simulated runpod-8b"));
}

#[test]
fn a_model_is_found_or_all_are_listed() {
    let config =
        config("[[models]]\nname = \"n\"\nstrategy = \"weighted\"\ntargets = [{ upstream = \"runpod-8b\" }]", "0.02");
    assert_eq!(model(&config, Some("n"), "t.toml").unwrap(), "n");
    for wanted in [None, Some("x")] {
        let error = model(&config, wanted, "t.toml").unwrap_err().to_string();
        assert!(error.starts_with("t.toml has ") && error.ends_with("m, n"), "{error}");
    }
}
