//! Images: built here, or given by reference.

use super::*;

impl Check {
    /// `--image KEY=REF` by key.
    pub(super) fn given_images(&mut self, settings: &Settings, request: &Request) -> BTreeMap<String, String> {
        let keys: Vec<&str> = settings.images.0.iter().map(|(key, _)| key.value.as_str()).collect();
        let mut given = BTreeMap::new();
        for flag in &request.images {
            let (key, reference) = match (flag.split_once('='), keys.as_slice()) {
                (Some((key, reference)), _) => (key, reference),
                (None, [only]) => (*only, flag.as_str()),
                (None, _) => {
                    let keys = keys.join("`, `");
                    self.errors.push(
                        ConfigError::new(format!("--image `{}`: which image is it?", shown(flag)))
                            .hint(format!("write `KEY={flag}`, where KEY is one of `{keys}`")),
                    );
                    continue;
                }
            };
            if !keys.contains(&key) {
                let error = ConfigError::new(format!("--image `{}`: there is no image `{}`", shown(flag), shown(key)));
                self.errors.push(error.hint(suggestion(key, keys.iter().copied())));
            } else if let Err(why) = ImageRef::parse(reference) {
                self.errors.push(ConfigError::new(format!("--image: {why}")));
            } else if given.insert(key.to_owned(), reference.to_owned()).is_some() {
                self.errors.push(ConfigError::new(format!("--image `{key}`: given twice")));
            }
        }
        given
    }

    pub(super) fn images(
        &mut self,
        images: &Entries<Option<Image>>,
        given: &BTreeMap<String, String>,
    ) -> Vec<ImageConfig> {
        let mut pushed: BTreeMap<(String, String), &str> = BTreeMap::new();
        let mut checked = Vec::new();
        for (key, image) in &images.0 {
            self.rule("image key", key, syntax::key);
            let source = match given.get(&key.value) {
                Some(reference) => ImageSource::Existing(reference.clone()),
                None => {
                    let build = self.build(key, image.clone().unwrap_or_default());
                    for tag in &build.tags {
                        let other = pushed.insert((build.repository.clone(), tag.clone()), key.value.as_str());
                        if let Some(other) = other
                            && other != key.value
                        {
                            let target = format!("{}:{tag}", build.repository);
                            self.error_with(
                                key.place,
                                format!("image `{}`: `{target}` is also what image `{other}` pushes", key.value),
                                format!("give them different repositories, or tags such as `{}-{{sha}}`", key.value),
                            );
                        }
                    }
                    ImageSource::Build(Box::new(build))
                }
            };
            checked.push(ImageConfig { key: key.value.clone(), source });
        }
        checked
    }

    fn build(&mut self, key: &Located<String>, image: Image) -> BuildConfig {
        let repository = self.repository(key, image.repository.as_ref());
        let context = PathBuf::from(image.context.as_ref().map_or(".", |context| context.value.as_str()));
        let place = image.context.as_ref().map_or(key.place, |context| context.place);
        let dockerfile = image.dockerfile.as_ref().map(|path| PathBuf::from(&path.value));
        if !self.root.join(&context).is_dir() {
            self.error(place, format!("context `{}`: there is no such folder", shown(&context.to_string_lossy())));
        } else {
            let place = image.dockerfile.as_ref().map_or(place, |path| path.place);
            let path = dockerfile.clone().unwrap_or_else(|| context.join("Dockerfile"));
            self.file("dockerfile", place, &path);
        }
        if let Some(platform) = &image.platform {
            self.rule("platform", platform, syntax::platform);
        }
        BuildConfig {
            repository,
            create_repository: image.create_repository.unwrap_or(false),
            context: self.root.join(context),
            dockerfile: dockerfile.map(|path| self.root.join(path)),
            target: image.target.map(|target| target.value),
            args: loose(image.build_args),
            labels: loose(image.labels),
            secrets: image.build_secrets.0.into_iter().filter_map(|(id, secret)| self.secret(id, secret)).collect(),
            platform: image.platform.map(|platform| platform.value),
            tags: self.tags(image.tags),
            cache: match image.cache {
                Some(CacheChoice::Off) => Cache::Off,
                Some(CacheChoice::Inline) | None => Cache::Inline,
            },
            reuse: match image.reuse {
                Some(ReuseChoice::Content) => Reuse::Content,
                Some(ReuseChoice::Never) => Reuse::Never,
                Some(ReuseChoice::Commit) | None => Reuse::Commit,
            },
        }
    }

    fn repository(&mut self, key: &Located<String>, repository: Option<&Located<String>>) -> String {
        let Some(repository) = repository else {
            self.error_with(
                key.place,
                format!("image `{}`: `repository` is missing", key.value),
                format!("where is it pushed? An ECR repository such as `team/{}`, or a full registry name", key.value),
            );
            return String::new();
        };
        match ImageRef::parse(&repository.value) {
            Err(why) => self.error(repository.place, format!("repository: {why}")),
            Ok(image) if image.tag.is_some() || image.digest.is_some() => self.error_with(
                repository.place,
                format!("repository `{}`: it has a tag or a digest", shown(&repository.value)),
                "tags belong under `tags`",
            ),
            Ok(_) => {}
        }
        repository.value.clone()
    }

    fn tags(&mut self, tags: Option<crate::config::decode::OneOrMany<crate::config::file::Tag>>) -> Vec<String> {
        let Some(tags) = tags else { return vec!["{sha}".to_owned()] };
        let mut templates = Vec::new();
        for crate::config::file::Tag(Located { place, value: crate::config::decode::Loose(tag) }) in tags.0 {
            match syntax::tag_template(&tag) {
                Err(why) => self.error(place, format!("tag `{}`: {why}", shown(&tag))),
                Ok(_) if templates.contains(&tag) => self.error(place, format!("tag `{tag}`: given twice")),
                Ok(_) => {}
            }
            templates.push(tag);
        }
        templates
    }

    fn secret(&mut self, id: Located<String>, secret: Secret) -> Option<BuildSecret> {
        let source = match (secret.file, secret.env) {
            (Some(file), None) => BuildSecretSource::File(self.root.join(file.value)),
            (None, Some(env)) => BuildSecretSource::Env(env.value),
            _ => {
                self.error(id.place, format!("build secret `{}`: give it `file` or `env`, one of the two", id.value));
                return None;
            }
        };
        Some(BuildSecret { id: id.value, source })
    }
}
