//! The configuration of pools.

use super::{PoolsConfig, PoolsConfigError};

/// Name, host and size of each pool.
fn pools(config: &PoolsConfig) -> Vec<(&str, &str, usize)> {
    let pools = config.pools.iter();
    pools.map(|(name, pool)| (name.as_str(), pool.options.config().hosts[0].host.as_str(), pool.size)).collect()
}

const BOTH: [(&str, &str, usize); 2] = [("listen", "two", 5), ("publish", "one", 3)];

#[test]
fn n12_f46_pools_are_configured_by_the_program() {
    let config = PoolsConfig::default().pool("publish", "amqp://one", 3).unwrap();
    assert_eq!(pools(&config.pool("listen", "amqp://two", 5).unwrap()), BOTH);
    let error = PoolsConfig::default().pool("publish", "amqp://one", 0).unwrap_err();
    assert!(matches!(error, PoolsConfigError::Size { key, .. } if key == "publish.pool_size"));
}

#[test]
fn n12_f46_pools_are_configured_by_variables() {
    let variables = [
        ("HOME", "/root"),
        ("AMQP_PUBLISH_URL", "amqp://one"),
        ("AMQP_PUBLISH_POOL_SIZE", " 3 "),
        ("amqp_listen_url", "amqp://two"),
        ("AMQP_DEBUG", "1"),
    ];
    assert_eq!(pools(&PoolsConfig::from_vars(variables).unwrap()), BOTH);
    assert_eq!(pools(&PoolsConfig::from_vars([("LANG", "C")]).unwrap()), []);
}

#[test]
fn n12_f46_a_variable_that_is_missing_or_wrong_is_named() {
    let error = PoolsConfig::from_vars([("AMQP_PUBLISH_POOL_SIZE", "3")]).unwrap_err();
    assert!(matches!(&error, PoolsConfigError::Missing { key } if key == "amqp_publish_url"));
    assert_eq!(error.to_string(), "the key `amqp_publish_url` is missing");
    for size in ["0", "-1", "many", "", "1.5"] {
        let variables = [("AMQP_LISTEN_URL", "amqp://two"), ("AMQP_LISTEN_POOL_SIZE", size)];
        let error = PoolsConfig::from_vars(variables).unwrap_err();
        assert!(matches!(&error, PoolsConfigError::Size { key, .. } if key == "amqp_listen_pool_size"), "{error}");
    }
    let error = PoolsConfig::from_vars([("AMQP_LISTEN_URL", "http://user:secret@two")]).unwrap_err();
    assert!(matches!(&error, PoolsConfigError::Url { key, .. } if key == "amqp_listen_url"));
    assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
}

#[test]
fn r10_f46_debug_shows_no_password() {
    let config = PoolsConfig::default().pool("publish", "amqp://user:secret@one", 3).unwrap();
    let text = format!("{config:?}");
    assert!(text.contains("publish") && text.contains("one") && !text.contains("secret"), "{text}");
}

#[cfg(feature = "serde")]
mod by_serde {
    use super::*;

    fn from_toml(text: &str) -> Result<PoolsConfig, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn n12_f46_pools_are_configured_by_a_table_each() {
        let text = "[publish]\nurl = 'amqp://one'\npool_size = 3\n\n[listen]\nurl = 'amqp://two'\n";
        assert_eq!(pools(&from_toml(text).unwrap()), BOTH);
    }

    #[test]
    fn n12_f46_a_pools_table_has_all_keys_of_a_connection() {
        let text = "
            [publish]
            hosts = ['one']
            pool_size = 3
            heartbeat = '5s'
            recovery = false

            [listen]
            url = 'amqp://two'
            [listen.timeouts]
            call = '1s'";
        let config = from_toml(text).unwrap();
        assert_eq!(pools(&config), BOTH);
        let (listen, publish) = (config.pools["listen"].options.config(), config.pools["publish"].options.config());
        assert_eq!((publish.heartbeat.as_secs(), publish.recovery.is_none()), (5, true));
        assert_eq!((listen.timeouts.call.as_secs(), listen.recovery.is_some()), (1, true));
    }

    #[test]
    fn n12_f46_pools_are_configured_by_flat_keys_beside_others() {
        let text = "
            title = 'an application'
            verbose = true
            ports = [1, 2]
            scale = 1.5
            amqp_publish_url = 'amqp://one'
            amqp_publish_pool_size = 3
            amqp_listen_url = 'amqp://two'";
        assert_eq!(pools(&from_toml(text).unwrap()), BOTH);
    }

    #[test]
    fn n12_f46_pools_are_a_part_of_an_applications_configuration() {
        #[derive(serde::Deserialize)]
        struct Application {
            title: String,
            amqp: PoolsConfig,
        }

        #[derive(serde::Deserialize)]
        struct Flat {
            title: String,
            #[serde(flatten)]
            amqp: PoolsConfig,
        }

        let text = "title = 't'\n[amqp.publish]\nurl = 'amqp://one'\npool_size = 3\n[amqp.listen]\nurl = 'amqp://two'";
        let application: Application = toml::from_str(text).unwrap();
        assert_eq!((application.title.as_str(), pools(&application.amqp)), ("t", BOTH.to_vec()));
        let text = r#"{
            "title": "t", "amqp_publish_url": "amqp://one", "amqp_publish_pool_size": "3", "other": null,
            "amqp_listen_url": "amqp://two"
        }"#;
        let flat: Flat = serde_json::from_str(text).unwrap();
        assert_eq!((flat.title.as_str(), pools(&flat.amqp)), ("t", BOTH.to_vec()));
    }

    #[test]
    fn n12_f46_a_key_that_is_missing_or_wrong_is_named() {
        for (text, expected) in [
            ("amqp_publish_pool_size = 3", "the key `amqp_publish_url` is missing"),
            ("[publish]\npool_size = 3", "the key `publish.url` is missing"),
            ("amqp_listen_url = 3", "`amqp_listen_url` is not understood"),
            ("amqp_listen_urls = 'amqp://two'", "`amqp_listen_urls` is not understood"),
            ("[listen]\nurl = 'amqp://two'\nsize = 3", "unknown field `size`, expected one of `uri`"),
            ("[listen]\nurl = 'amqp://two'\npool_size = 0", "`listen.pool_size` has to be the size of a pool"),
            ("[listen]\nurl = 'amqp://two'\npool_size = 'many'", "and not \"many\""),
            ("[listen]\nurl = 'amqp://two'\npool_size = 2.5", "and not a fraction"),
            ("[listen]\nurl = 'amqp://two'\npool_size = -1", "and not -1"),
            ("amqp_listen_url = 'amqp://two'\namqp_listen_pool_size = true", "and not a truth value"),
            ("amqp_listen_url = 'http://two'", "`amqp_listen_url` is no URL to connect to"),
        ] {
            let error = from_toml(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
