//! Images: built here, or given by reference.

use super::*;
use crate::config::credential_files::{has_credential_files, is_credential_file};
use crate::config::interpolate::is_credential;

impl Check<'_> {
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
            checked.push(ImageConfig { key: key.value.as_str().into(), source });
        }
        checked
    }

    fn build(&mut self, key: &Located<String>, image: Image) -> BuildConfig {
        let repository = self.repository(key, image.repository.as_ref());
        let context = PathBuf::from(image.context.as_ref().map_or(".", |context| context.value()));
        let place = image.context.as_ref().map_or(key.place, |context| context.place);
        let dockerfile = image.dockerfile.as_ref().map(|path| PathBuf::from(path.value()));
        let said = image.context.as_ref().map_or_else(|| ".".to_owned(), |context| context.shown());
        if !self.builds {
            // Nothing of it is read.
        } else if is_remote(&context.to_string_lossy()) {
            let what = format!("context `{said}`: a URL is no build context here");
            self.error_with(place, what, "check the repository out first, and name its folder");
        } else if !self.root.join(&context).is_dir() {
            self.error(place, format!("context `{said}`: there is no such folder"));
        } else if is_shown_by_kernel(&self.root.join(&context)) {
            self.error(place, format!("context `{said}`: its files are the kernel's"));
        } else if has_credential_files(&context.to_string_lossy(), &self.root, self.env) {
            self.error_with(
                place,
                format!("context `{said}`: in it are credentials of the run itself"),
                "name the folder of the sources",
            );
        } else if let Some(path) = &image.dockerfile {
            self.file("dockerfile", path);
            if is_credential_file(path.value(), &self.root, self.env) {
                self.error(path.place, format!("dockerfile `{}` holds credentials of the run itself", path.shown()));
            }
        } else if let Some(why) = why_no_file(&self.root.join(&context).join("Dockerfile")) {
            let said = if image.context.is_some() { format!("{said}/Dockerfile") } else { "./Dockerfile".to_owned() };
            self.error(place, format!("dockerfile `{said}`: {why}"));
        }
        if let Some(platform) = &image.platform {
            self.rule("platform", platform, syntax::platform);
        }
        BuildConfig {
            repository,
            create_repository: image.create_repository.unwrap_or(false),
            context: self.root.join(context),
            dockerfile: dockerfile.map(|path| self.root.join(path)),
            target: image.target.map(|target| target.value().to_owned()),
            args: loose(image.build_args),
            labels: loose(image.labels),
            secrets: image.build_secrets.0.into_iter().filter_map(|(id, secret)| self.secret(id, secret)).collect(),
            platform: image.platform.map(|platform| platform.value().to_owned()),
            tags: self.tags(image.tags),
            cache: match image.cache {
                Some(CacheChoice::Off) => Cache::Off,
                Some(CacheChoice::Inline) => Cache::Inline,
                Some(CacheChoice::Auto) | None => Cache::Auto,
            },
            reuse: match image.reuse {
                Some(ReuseChoice::Content) => Reuse::Content,
                Some(ReuseChoice::Never) => Reuse::Never,
                Some(ReuseChoice::Commit) => Reuse::Commit,
                Some(ReuseChoice::Auto) | None => Reuse::Auto,
            },
        }
    }

    fn repository(&mut self, key: &Located<String>, repository: Option<&Located<Text>>) -> String {
        let Some(repository) = repository else {
            self.error_with(
                key.place,
                format!("image `{}`: `repository` is missing", key.value),
                format!("where is it pushed? An ECR repository such as `team/{}`, or a full registry name", key.value),
            );
            return String::new();
        };
        match ImageRef::parse(repository.value()) {
            Err(why) => self.error(repository.place, format!("repository: {why}")),
            Ok(image) if image.tag.is_some() || image.digest.is_some() => self.error_with(
                repository.place,
                format!("repository `{}`: it has a tag or a digest", repository.shown()),
                "tags belong under `tags`",
            ),
            Ok(image) if (is_bare(&image, repository.value()) || image.ecr().is_some()) && !is_in_ecr(&image) => self
                .error_with(
                    repository.place,
                    format!("repository `{}`: ECR does not take this name", repository.shown()),
                    "2 to 256 lowercase letters and digits, with one `.`, `_`, `-` or `/` at a time between them",
                ),
            Ok(_) => {}
        }
        repository.value().to_owned()
    }

    fn tags(&mut self, tags: Option<crate::config::decode::OneOrMany<crate::config::file::Tag>>) -> Vec<String> {
        let Some(tags) = tags else { return vec!["{sha}".to_owned()] };
        let mut templates = Vec::new();
        for crate::config::file::Tag(tag) in tags.0 {
            let template = tag.value().to_owned();
            match syntax::tag_template(&template) {
                Err(why) => self.error(tag.place, format!("tag `{}`: {why}", tag.shown())),
                Ok(_) if templates.contains(&template) => {
                    self.error(tag.place, format!("tag `{}`: given twice", tag.shown()));
                }
                Ok(_) => {}
            }
            templates.push(template);
        }
        templates
    }

    fn secret(&mut self, id: Located<String>, secret: Secret) -> Option<BuildSecret> {
        let source = match secret {
            Secret::Value(value) if value.has_reference() => BuildSecretSource::Value(value),
            Secret::Value(_) => {
                self.error_with(
                    id.place,
                    format!("build secret `{}`: a secret does not stand in the file", id.value),
                    "refer to it: `${env:NAME}`, or `{ env: NAME }`, or `{ file: PATH }`",
                );
                return None;
            }
            Secret::From(SecretSource { file: Some(file), env: None }) => {
                if is_credential_file(file.value(), &self.root, self.env) {
                    self.error_with(
                        file.place,
                        format!("build secret `{}`: `{}` holds credentials of the run itself", id.value, file.shown()),
                        "have a step write the token that the build needs into a file of its own",
                    );
                } else if let Some(why) = why_no_file(&self.root.join(file.value())).filter(|why| *why != NO_SUCH_FILE)
                {
                    // A step may write it yet.
                    self.error(file.place, format!("build secret `{}`: `{}`: {why}", id.value, file.shown()));
                }
                BuildSecretSource::File(self.root.join(file.value()))
            }
            Secret::From(SecretSource { file: None, env: Some(env) }) => {
                if is_credential(env.value()) {
                    self.error_with(
                        env.place,
                        format!("build secret `{}`: `{}` is a credential of the run itself", id.value, env.shown()),
                        "give the step the token that the build needs under another name: `env: { NPM_TOKEN: ... }`",
                    );
                }
                BuildSecretSource::Env(env.value().to_owned())
            }
            Secret::From(_) => {
                self.error(id.place, format!("build secret `{}`: give it `file` or `env`, one of the two", id.value));
                return None;
            }
        };
        Some(BuildSecret { id: id.value, source })
    }
}

/// A git repository or a tar archive elsewhere, as `docker build` takes one.
/// <https://docs.docker.com/build/concepts/context/#remote-context>
fn is_remote(context: &str) -> bool {
    context.contains("://") || context.starts_with("git@") || context.starts_with("github.com/")
}

/// A bare name is an ECR repository of the cluster's own registry.
fn is_bare(image: &ImageRef, written: &str) -> bool {
    image.registry == "docker.io" && !written.starts_with("docker.io/")
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html>
fn is_in_ecr(image: &ImageRef) -> bool {
    let name = &image.repository;
    let separators = ["..", "__", "--", "._", "_.", ".-", "-.", "_-", "-_"];
    (2..=256).contains(&name.len()) && !separators.iter().any(|two| name.contains(two))
}
