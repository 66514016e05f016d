//! Amazon CloudWatch Logs.
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_GetLogEvents.html>

use super::client::AwsClient;
use super::failure::call_error;
use crate::ports::{Call, FoundEvent, FoundEvents, LogEvent, LogPage, LogQuery, LogStream, Logs};
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
        before: Option<i64>,
    ) -> Call<GetLogEventsOutput> {
        let logs = self.logs(stream.region.as_deref());
        self.call("logs:GetLogEvents", async || {
            logs.get_log_events()
                .log_group_name(&stream.group)
                .log_stream_name(&stream.stream)
                .start_from_head(from_head)
                .set_next_token(token.map(str::to_owned))
                .set_limit(limit)
                .set_end_time(before)
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
        let answer = self.get_log_events(stream, true, after, None, None).await?;
        Ok(LogPage { next: answer.next_forward_token().map(str::to_owned), events: events(&answer) })
    }

    async fn log_tail(&self, stream: &LogStream, lines: usize, before: Option<i64>) -> Call<Vec<LogEvent>> {
        let mut tail: Vec<LogEvent> = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..TAIL_PAGES {
            let missing = i32::try_from(lines.saturating_sub(tail.len())).unwrap_or(PAGE_LIMIT).min(PAGE_LIMIT);
            if missing == 0 {
                break;
            }
            let answer = self.get_log_events(stream, false, token.as_deref(), Some(missing), before).await?;
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

    async fn find_log_events(&self, query: &LogQuery, after: Option<&str>) -> Call<FoundEvents> {
        let logs = self.logs(query.region.as_deref());
        let answer = self
            .call("logs:FilterLogEvents", async || {
                logs.filter_log_events()
                    .log_group_name(&query.group)
                    .set_log_stream_names(Some(query.streams.clone()))
                    .set_start_time(query.from)
                    // AWS takes what has this time too.
                    .set_end_time(query.until.map(|until| until - 1))
                    .set_filter_pattern(query.pattern.clone())
                    .set_next_token(after.map(str::to_owned))
                    .send()
                    .await
                    .map_err(call_error("logs:FilterLogEvents"))
            })
            .await?;
        let next = answer.next_token().map(str::to_owned);
        let events = answer.events.unwrap_or_default().into_iter().map(|event| FoundEvent {
            id: event.event_id.unwrap_or_default(),
            stream: event.log_stream_name.unwrap_or_default(),
            timestamp: event.timestamp.unwrap_or_default(),
            message: event.message.unwrap_or_default(),
        });
        Ok(FoundEvents { events: events.collect(), next })
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
