// Package runwright is the client of Runwright, a durable agent runtime served over gRPC.
//
// [Connect] gives a [Client], which starts runs, looks at them, waits for them and ends them.
// [Client.Subscribe] follows their events and comes back by itself after a disconnect or a
// restart of the server, with each event exactly once. [ToolServer] performs the calls of
// tools for the server, which dials it. A call that fails gives an [*Error].
//
// Everything takes a [context.Context]. The messages are those of the contract, generated from
// its protos; package runwrightv1 (github.com/runwright/runwright/clients/go/gen/runwright/v1)
// has their enumerations.
package runwright

import (
	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

// The messages of the contract that this package takes and gives.
type (
	// RunRequest is what a start asks for; a [StartOption] changes it.
	RunRequest = runwrightv1.RunRequest
	// Run is a run as it stands, at one position of the journal.
	Run = runwrightv1.RunSnapshot
	// Frame is one element of a stream: an event, a bookmark or a gap, and its cursor.
	Frame = runwrightv1.EventFrame
	// Event is one settled fact of a run.
	Event = runwrightv1.Event
	// Scope says which runs a stream covers; see [RunScope] and its neighbours.
	Scope = runwrightv1.StreamScope
	// EventFilter says which events of a scope are wanted.
	EventFilter = runwrightv1.EventFilter
	// RunFilter says which runs are wanted.
	RunFilter = runwrightv1.RunFilter
	// Resolution is what somebody says of a call whose outcome is unknown; see [Client.ResolveEffect].
	Resolution = runwrightv1.Resolution
	// Budget limits what a run may use up.
	Budget = runwrightv1.Budget
	// Part is one part of what a user says to an agent; see [TextPart] and [DataPart].
	Part = runwrightv1.InputPart
	// ServerInfo describes a server: version, limits, packages.
	ServerInfo = runwrightv1.GetServerInfoResponse
)

// RunScope covers the events of one run; its stream ends with the run.
func RunScope(runID string) *Scope {
	return &Scope{Scope: &runwrightv1.StreamScope_RunId{RunId: runID}}
}

// SessionScope covers the events of all runs of a session, present and future.
func SessionScope(sessionID string) *Scope {
	return &Scope{Scope: &runwrightv1.StreamScope_SessionId{SessionId: sessionID}}
}

// AgentScope covers the events of all runs of an agent, present and future.
func AgentScope(agentID string) *Scope {
	return &Scope{Scope: &runwrightv1.StreamScope_AgentId{AgentId: agentID}}
}

// AllScope covers the events of all runs of the caller's namespace, present and future.
func AllScope() *Scope {
	return &Scope{Scope: &runwrightv1.StreamScope_All{All: &runwrightv1.AllRuns{}}}
}

// Text is an input of one part.
func Text(text string) []*Part { return []*Part{TextPart(text)} }

// TextPart is a part of the input that is text.
func TextPart(text string) *Part {
	return &Part{Part: &runwrightv1.InputPart_Text{Text: text}}
}

// DataPart is a part of the input that is an image, such as "image/png".
func DataPart(mediaType string, data []byte) *Part {
	return &Part{Part: &runwrightv1.InputPart_Data{Data: &runwrightv1.InputData{MediaType: mediaType, Data: data}}}
}
