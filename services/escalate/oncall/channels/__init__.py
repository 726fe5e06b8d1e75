"""Ways to reach people: e-mail, Standard Webhooks, Slack, Microsoft Teams, PagerDuty, Apprise."""
