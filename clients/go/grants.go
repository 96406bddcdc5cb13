package runwright

import (
	"context"
	"iter"

	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

type (
	// GrantRequest is a grant as whoever approves asks for it, in [ApprovalDecision].
	GrantRequest = runwrightv1.GrantRequest
	// GrantScope says for which runs a grant answers.
	GrantScope = runwrightv1.GrantScope
	// GrantMatcher says for which calls of its tool a grant answers.
	GrantMatcher = runwrightv1.GrantMatcher
	// GrantState is where a grant stands.
	GrantState = runwrightv1.GrantState
	// GrantStatus is a grant, and where it stands.
	GrantStatus = runwrightv1.GrantStatus
	// GrantFilter says which grants are wanted; what is left empty means any. Without states: those that answer.
	GrantFilter = runwrightv1.ListGrantsRequest
	// Revoked is what [Client.RevokeGrant] gives.
	Revoked = runwrightv1.RevokeGrantResponse
)

// ListGrants goes through grants, page by page as it is read: those that answer, the one that lasts longest first, unless
// the filter says other states, which come with the newest first. It stops after an error. A nil filter: all that answer.
func (c *Client) ListGrants(ctx context.Context, filter *GrantFilter) iter.Seq2[*GrantStatus, error] {
	return func(yield func(*GrantStatus, error) bool) {
		request := &runwrightv1.ListGrantsRequest{
			States: filter.GetStates(), Tool: filter.GetTool(), AgentId: filter.GetAgentId(), RunId: filter.GetRunId(),
			Issuer: filter.GetIssuer(), PageSize: filter.GetPageSize(), PageToken: filter.GetPageToken(),
		}
		for {
			page, err := unary(ctx, c, true, bind(c.approvals.ListGrants), request)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, grant := range page.GetGrants() {
				if !yield(grant, nil) {
					return
				}
			}
			if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
				return
			}
		}
	}
}

// RevokeGrant takes a grant back, for good: from then on somebody is asked again. A request that is sent again changes
// nothing.
func (c *Client) RevokeGrant(ctx context.Context, grantID, note string) (*Revoked, error) {
	request := &runwrightv1.RevokeGrantRequest{GrantId: grantID, Note: note}
	return unary(ctx, c, true, bind(c.approvals.RevokeGrant), request)
}
