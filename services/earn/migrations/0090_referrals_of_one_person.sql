-- From here on a bill decides the open referrals of all who are one person with its member (docs/decisions/0343). `pointbank verify`
-- expects it of what is judged later than this.
COMMENT ON TABLE referrals IS 'The first bill of a member, or of who is one person with the member, decides what a referral brings.';
