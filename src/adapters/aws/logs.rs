//! Amazon CloudWatch Logs.
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_GetLogEvents.html>

use super::client::AwsClient;
use super::failure::call_error;
use crate::ports::{Call, LogEvent, LogPage, LogStream, Logs};
use async_trait::async_trait;
use aws_config::Region;
use aws_sdk_cloudwatchlogs::operation::get_log_events::GetLogEventsOutput;

/// A page can be empty or short although there is more behind it; this many are read for a tail.
const TAIL_PAGES: usize = 5;
const PAGE_LIMIT: i32 = 10_000;

impl AwsClient {
    pub(super) fn logs(&self, region: Option<&str>) -> aws_sdk_cloudwatchlogs::Client {
        let mut config = aws_sdk_cloudwatchlogs::config::Builder::from(self.session.config());
        if let Some(region) = region {
            config = config.region(Region::new(region.to_owned()));
        }
        if let Some(endpoint) = self.session.endpoint("CLOUDWATCH_LOGS") {
            config = config.endpoint_url(endpoint);
        }
        aws_sdk_cloudwatchlogs::Client::from_conf(config.build())
    }

    async fn get_log_events(
        &self,
        stream: &LogStream,
        from_head: bool,
        token: Option<&str>,
        limit: Option<i32>,
    ) -> Call<GetLogEventsOutput> {
        let logs = self.logs(stream.region.as_deref());
        self.call("logs:GetLogEvents", async || {
            logs.get_log_events()
                .log_group_name(&stream.group)
                .log_stream_name(&stream.stream)
                .start_from_head(from_head)
                .set_next_token(token.map(str::to_owned))
                .set_limit(limit)
                .send()
                .await
                .map_err(call_error("logs:GetLogEvents"))
        })
        .await
    }
}

#[async_trait(?Send)]
impl Logs for AwsClient {
    async fn log_events(&self, stream: &LogStream, after: Option<&str>) -> Call<LogPage> {
        let answer = self.get_log_events(stream, true, after, None).await?;
        Ok(LogPage { next: answer.next_forward_token().map(str::to_owned), events: events(&answer) })
    }

    async fn log_tail(&self, stream: &LogStream, lines: usize) -> Call<Vec<LogEvent>> {
        let mut tail: Vec<LogEvent> = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..TAIL_PAGES {
            let missing = i32::try_from(lines.saturating_sub(tail.len())).unwrap_or(PAGE_LIMIT).min(PAGE_LIMIT);
            if missing == 0 {
                break;
            }
            let answer = self.get_log_events(stream, false, token.as_deref(), Some(missing)).await?;
            let mut page = events(&answer);
            page.append(&mut tail);
            tail = page;
            let next = answer.next_backward_token().map(str::to_owned);
            if next.is_none() || next == token {
                break;
            }
            token = next;
        }
        Ok(tail.split_off(tail.len().saturating_sub(lines)))
    }
}

fn events(answer: &GetLogEventsOutput) -> Vec<LogEvent> {
    answer
        .events()
        .iter()
        .map(|e| LogEvent {
            timestamp: e.timestamp().unwrap_or_default(),
            message: e.message().unwrap_or_default().to_owned(),
        })
        .collect()
}
