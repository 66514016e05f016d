//! ECS calls in raw JSON. The SDK signs and names the errors; the bodies are ours, both ways, so that members
//! and values newer than the SDK survive.

use super::failure::unreadable;
use crate::fence;
use crate::ports::Call;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut, BeforeTransmitInterceptorContextRef,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};

/// Puts its body in place of the serialized one, and keeps the body of the answer.
#[derive(Clone, Debug)]
pub(super) struct RawJson {
    body: String,
    answer: Arc<Mutex<Option<Vec<u8>>>>,
}

impl RawJson {
    pub(super) fn new(body: &Value) -> Self {
        Self { body: body.to_string(), answer: Arc::default() }
    }

    /// The answer. Numbers, nulls and missing members are as AWS sent them.
    pub(super) fn answer(&self, action: &'static str) -> Call<Value> {
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        serde_json::from_slice(&answer).map_err(|e| unreadable(action, &e.to_string()))
    }
}

impl Intercept for RawJson {
    fn name(&self) -> &'static str {
        "RawJson"
    }

    /// Before it is signed.
    fn modify_before_retry_loop(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        request.headers_mut().insert("content-length", self.body.len().to_string());
        *request.body_mut() = SdkBody::from(self.body.clone());
        Ok(())
    }

    /// Once per attempt, when nothing but sending it is left to do.
    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if fence::may_send() { Ok(()) } else { Err("the lease has to be confirmed again first".into()) }
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response().body().bytes().map(<[u8]>::to_vec);
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = body;
        Ok(())
    }
}
